"""A place where XLA must stop fusing.

On CPU, XLA merges cheap operations into each of their consumers and drops optimization barriers
before it does so: nine taps of a convolution would make the layer below nine times. It never looks
across a call that it is told not to inline, whose results are stored.

On accelerators, XLA weighs what it would compute twice by itself; calls would be kernels of their
own, four to nine times slower in all, and barriers end its compilation with an error: its constant
folding knows no barriers (found with jax 0.11.2 on an H100).
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental.xla_metadata import set_xla_metadata


def materialized(fn: Callable[[Any], Any], operands: Any) -> Any:
    """`fn(operands)`, computed once and stored; on accelerators, as XLA sees fit.

    For gradients only the operands are kept, and `fn` is computed again on the way back.
    """
    return stored_call(fn)(operands)


def stored_call(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`fn` as `materialized` computes it, to be called for several operands.

    Of operands that are alike in shape, XLA compiles one program.
    """
    if jax.default_backend() != "cpu":
        return recomputed(fn)
    return _call(jax.checkpoint(fn))


def recomputed(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The same step of a loop, of which gradients keep the arguments and compute the rest again.

    Forwards and backwards are loops of their own: nothing of one could take the other's place, so
    that no barrier need forbid it.
    """
    return jax.checkpoint(fn, prevent_cse=False)


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
            return out, fn(dx, weights)
        for step in steps:
            dx = _called(lambda dx, step=step: step(dx, weights), dx)
        return out, dx

    return wrapped(x, weights)


def linear_broadcast(x: Array, shape: tuple[int, ...]) -> Array:
    """x, broadcast to a shape, of which backwards the cotangent is stored before it is summed."""
    if jax.default_backend() != "cpu":
        return jnp.broadcast_to(x, shape)
    return _called(lambda x: jnp.broadcast_to(x, shape), x)


def _called(fn: Callable[[Any], Any], operands: Any) -> Any:
    """`fn(operands)`, as a call that XLA must not inline; it may inline calls inside."""
    return _call(fn)(operands)


def _call(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`fn`, whose calls XLA must not inline; it may inline calls inside."""

    @jax.jit
    def inside(operands: Any) -> Any:
        with set_xla_metadata(inlineable="true"):
            return fn(operands)

    def call(operands: Any) -> Any:
        with set_xla_metadata(inlineable="false"):
            return inside(operands)

    return call
