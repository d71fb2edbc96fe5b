"""What ntkjax asks of JAX beyond its documented interface, or by changing names, in one place.

`jax.core.Tracer` is the class of every array whose values a transformation (jit, grad, vmap) has
not computed yet. Code that must look at values asks here whether there are any. And the type of an
array within `jax.shard_map` tells over which axes of the mesh it varies, under changing names. How
an equation of a traced program is evaluated by itself has changed as well.
"""

import functools
from typing import Any

import jax
import jax.experimental
from jax.core import Tracer
from jax.extend.core import Literal, get_opaque_trace_state


def is_traced(value: Any) -> bool:
    """Whether a value is an array without values, inside a transformation of the caller's."""
    return isinstance(value, Tracer)


def is_concrete(tree: Any) -> bool:
    """Whether all arrays of a pytree have values now, none being traced by jit, grad or vmap."""
    return not any(map(is_traced, jax.tree.leaves(tree)))


def is_within_program() -> bool:
    """Whether a program of the caller's is being traced; all that is computed is part of it."""
    zero, outside = _zero()
    # To compute takes ten microseconds and more. Under `grad` alone, what is known is computed.
    return get_opaque_trace_state() != outside and is_traced(jax.lax.neg(zero))


@functools.cache
def _zero() -> tuple[jax.Array, Any]:
    """A number that is no part of a program, and the state of JAX outside of any."""
    with jax.ensure_compile_time_eval():
        return jax.numpy.zeros(()), get_opaque_trace_state()


def varying_axes(array: Any) -> frozenset[Any]:
    """The axes of a mesh over which an array varies within `jax.shard_map`."""
    kind = jax.typeof(array)
    manual = getattr(kind, "manual_axis_type", None)
    return getattr(kind, "vma", None) or getattr(manual, "varying", None) or frozenset()


def double_precision() -> Any:
    """A context in which JAX knows float64, whatever its configuration."""
    home: Any = jax if hasattr(jax, "enable_x64") else jax.experimental
    return home.enable_x64(True)


def is_literal(atom: Any) -> bool:
    """Whether an input of an equation is a number that was written into the program."""
    return isinstance(atom, Literal)


def evaluated(equation: Any, values: list[Any]) -> list[Any]:
    """The outputs of one equation of a traced program."""
    primitive = equation.primitive
    bound = primitive.get_bind_params(equation.params)
    functions, parameters = bound if isinstance(bound, tuple) else ((), bound)
    made = primitive.bind(*functions, *values, **parameters)
    return list(made) if primitive.multiple_results else [made]
