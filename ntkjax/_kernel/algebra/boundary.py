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
    """`fn(operands)`, computed once and stored.

    For gradients only the operands are kept, and `fn` is computed again on the way back.
    """
    if jax.default_backend() != "cpu":
        return lax.optimization_barrier(fn(operands))
    return _called(jax.checkpoint(fn), operands)


def linear_materialized(
    fn: Callable[[Array, Any], Array],
    x: Array,
    weights: Any,
    steps: Sequence[Callable[[Array, Any], Array]],
) -> Array:
    """`fn(x, weights)`, which is linear in x, with stored cotangents; the weights are constants.

    On the way back through a convolution, XLA would compute the cotangent anew for every tap. So
    there `fn` is computed in `steps`, and the result of each is stored. One step pads along one
    axis: of paddings within paddings, XLA would ask for each number whether it lies in any of them.
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
    """`fn(operands)`, as a call that XLA must not inline; it may inline calls inside."""

    def inside(operands: Any) -> Any:
        with set_xla_metadata(inlineable="true"):
            return fn(operands)

    with set_xla_metadata(inlineable="false"):
        return jax.jit(inside)(operands)
