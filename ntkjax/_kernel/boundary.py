"""A place where XLA must stop fusing.

On CPU, XLA merges cheap operations into each of their consumers and drops optimization barriers
before it does so: nine taps of a convolution would make the layer below nine times. It never looks
into the branch of a conditional, so that one whose predicate always holds keeps its result.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax


def materialized(fn: Callable[[Any], Any], operands: Any) -> Any:
    """`fn(operands)`, made once and stored."""
    if jax.default_backend() != "cpu":
        return lax.optimization_barrier(fn(operands))
    floats = [a for a in jax.tree.leaves(operands) if jnp.issubdtype(a.dtype, jnp.floating)]
    if not floats:
        return fn(operands)  # of constants alone
    # Equal to itself unless it is NaN, and then so is the result.
    value = floats[0][(0,) * floats[0].ndim]
    program = jax.jit(fn)  # traced once, for its shapes
    shapes = jax.eval_shape(program, operands)

    def undefined(_: Any) -> Any:
        return jax.tree.map(lambda a: jnp.full(a.shape, jnp.nan, a.dtype), shapes)

    return lax.cond(value == value, program, undefined, operands)


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
