"""A place where XLA must stop fusing.

On CPU, XLA merges cheap operations into each of their consumers and drops optimization barriers
before it does so: nine taps of a convolution would make the layer below nine times. It never looks
into the branch of a conditional, so that one whose predicate always holds keeps its result.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def materialized(fn: Callable[..., Any], operands: Any, like: Any) -> Any:
    """`fn(operands)`, made once and stored; `like` has the shapes and dtypes of its result."""
    if jax.default_backend() != "cpu":
        return lax.optimization_barrier(fn(operands))
    floats = [a for a in jax.tree.leaves(operands) if jnp.issubdtype(a.dtype, jnp.floating)]
    if not floats:
        return fn(operands)  # of constants alone
    value = floats[0][(0,) * floats[0].ndim]

    def undefined(operands: Any) -> Any:
        del operands
        return jax.tree.map(lambda a: jnp.full(a.shape, jnp.nan, a.dtype), like)

    # Equal to itself unless it is NaN, and then so is the result.
    return lax.cond(value == value, fn, undefined, operands)
