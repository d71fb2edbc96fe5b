"""A place where XLA must stop fusing.

On CPU, XLA merges cheap operations into each of their consumers and drops optimization barriers
before it does so: nine taps of a convolution would make the layer below nine times. It never looks
into the branch of a conditional, so that one whose predicate always holds keeps its result.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

#: What the conditionals of the program being traced ask: whether a number of its is no NaN. Else
#: each of them asks a number of its own, and small programs are most of what XLA has to compile.
_holds: contextvars.ContextVar[Array | None] = contextvars.ContextVar("holds", default=None)


@contextlib.contextmanager
def conditioned_on(arrays: Any) -> Iterator[None]:
    """Let all boundaries within ask one number, of arrays on which all results depend."""
    token = _holds.set(_is_number(arrays))
    try:
        yield
    finally:
        _holds.reset(token)


def _is_number(arrays: Any) -> Array | None:
    """Whether the first of some floats equals itself, as all numbers do; NaN makes all NaN."""
    floats = [a for a in jax.tree.leaves(arrays) if jnp.issubdtype(a.dtype, jnp.floating)]
    if not floats:
        return None
    value = floats[0][(0,) * floats[0].ndim]
    return value == value


def materialized(fn: Callable[[Any], Any], operands: Any) -> Any:
    """`fn(operands)`, made once and stored."""
    if jax.default_backend() != "cpu":
        return lax.optimization_barrier(fn(operands))
    known = _holds.get()
    holds = _is_number(operands) if known is None else known
    if holds is None:
        return fn(operands)  # of constants alone
    # Traced once, for its shapes; backwards, all but its operands is made again.
    program = jax.jit(jax.checkpoint(fn))
    shapes = jax.eval_shape(program, operands)

    def undefined(_: Any) -> Any:
        return jax.tree.map(lambda a: jnp.full(a.shape, jnp.nan, a.dtype), shapes)

    return lax.cond(holds, program, undefined, operands)


def linear_materialized(fn: Callable[[Array, Any], Array], x: Array, weights: Any) -> Array:
    """`fn(x, weights)`, linear in x, with constant weights, whose cotangents are stored.

    Backwards, the cotangent is what the taps of a convolution would make anew.
    """
    wrapped = jax.custom_jvp(lambda x, weights: fn(x, weights))

    @wrapped.defjvp
    def jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
        (x, weights), (dx, _) = primals, tangents
        out = fn(x, weights)
        if jax.default_backend() != "cpu":
            return out, fn(lax.optimization_barrier(dx), weights)
        # The predicate must not depend on the tangent, in which all is linear.
        witness = x[(0,) * x.ndim]
        along = lambda dx: fn(dx, weights)  # noqa: E731
        return out, lax.cond(witness == witness, along, lambda _: jnp.zeros_like(out), dx)

    return wrapped(x, weights)
