"""A place where XLA must stop fusing.

On CPU, XLA merges cheap operations into each of their consumers and drops optimization barriers
before it does so: nine taps of a convolution would make the layer below nine times. It never looks
across a call that it is told not to inline, whose results are stored.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import Array, lax
from jax.experimental.xla_metadata import set_xla_metadata


def materialized(fn: Callable[[Any], Any], operands: Any) -> Any:
    """`fn(operands)`, made once and stored; backwards, all but the operands is made again."""
    if jax.default_backend() != "cpu":
        return lax.optimization_barrier(fn(operands))
    return _called(jax.checkpoint(fn), operands)


def linear_materialized(
    fn: Callable[[Array, Any], Array],
    x: Array,
    weights: Any,
    steps: Sequence[Callable[[Array, Any], Array]],
) -> Array:
    """`fn(x, weights)`, linear in x, with constant weights, whose cotangents are stored.

    Backwards, the cotangent is what the taps of a convolution would make anew. There, `fn` is made
    in `steps`, each of which is stored: XLA asks for every number of a padded array whether it is
    in the padding, and of paddings within paddings for each of all.
    """
    wrapped = jax.custom_jvp(lambda x, weights: fn(x, weights))

    @wrapped.defjvp
    def jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
        (x, weights), (dx, _) = primals, tangents
        out = fn(x, weights)
        if jax.default_backend() != "cpu":
            return out, fn(lax.optimization_barrier(dx), weights)
        for step in steps:
            dx = _called(lambda dx, step=step: step(dx, weights), dx)
        return out, dx

    return wrapped(x, weights)


def _called(fn: Callable[[Any], Any], operands: Any) -> Any:
    """`fn(operands)`, as a call that stays one; calls within it are of no such kind."""

    def inside(operands: Any) -> Any:
        with set_xla_metadata(inlineable="true"):
            return fn(operands)

    with set_xla_metadata(inlineable="false"):
        return jax.jit(inside)(operands)
