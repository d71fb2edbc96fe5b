"""A place where XLA must stop fusing.

On CPU, XLA merges cheap operations into each of their consumers and drops optimization barriers
before it does so: nine taps of a convolution would make the layer below nine times. It never looks
across a call that it is told not to inline, whose results are stored.

On accelerators, XLA weighs what it would compute twice by itself; calls would be kernels of their
own, four to nine times slower in all, and barriers end its compilation with an error: its constant
folding knows no barriers (found with jax 0.11.2 on an H100).
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental.xla_metadata import set_xla_metadata

from ntkjax._kernel.algebra.linear import LinearStep, Map


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


def linear_stored(fn: Map, known: Any, x: Any, steps: Sequence[Map] = ()) -> Any:
    """`fn(known, x)`, which is linear in x, with stored cotangents.

    On the way back through a convolution, XLA would compute the cotangent anew for every tap. So
    there the transpose is that of `steps`, which make the same of x, and the result of each is
    stored. One step pads along one axis: of paddings within paddings, XLA would ask for each number
    whether it lies in any of them.
    """
    steps = steps if steps and jax.default_backend() == "cpu" else [fn]
    start = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), x)

    def backwards(known: Any, cotangent: Any) -> Any:
        like = [start]
        for step in steps[:-1]:
            like.append(jax.eval_shape(step, known, like[-1]))
        for step, before in zip(reversed(steps), reversed(like), strict=True):
            cotangent = _stored(functools.partial(_transposed, step, before), known, cotangent)
        return cotangent

    return LinearStep(fn, backwards)(known, x)


def _transposed(step: Map, like: Any, known: Any, cotangent: Any) -> Any:
    """What the transpose of a step, whose input is `like` this, makes of a cotangent."""
    (change,) = jax.linear_transpose(lambda x: step(known, x), like)(cotangent)
    return change


def linear_kept(x: Any) -> Any:
    """x, stored where it is a tangent, so that XLA does not make it anew for each that needs it."""
    return LinearStep(lambda _, x: _stored(lambda x: x, x), lambda _, cotangent: cotangent)(None, x)


def linear_broadcast(x: Array, shape: tuple[int, ...]) -> Array:
    """x, broadcast to a shape, of which backwards the cotangent is stored before it is summed."""
    return linear_stored(lambda _, x: jnp.broadcast_to(x, shape), None, x)


def _stored(fn: Callable[..., Any], *operands: Any) -> Any:
    """`fn(*operands)`, computed once and stored; on accelerators, as XLA sees fit."""
    if jax.default_backend() != "cpu":
        return fn(*operands)
    return _call(lambda operands: fn(*operands))(operands)


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
