"""Sequences without their masked times, all ending (or starting) at the same one.

A recurrent layer passes over masked times. Two sequences (M: masked), of which the last times are
to stand at the end, and the order in which times are taken:

    a b M c  ->  M a b c,    order [2, 0, 1, 3];        d M M M  ->  M M M d,    order [1, 2, 3, 0].

With orders o and o' of two images, K'[t, t'] = K[o[t], o'[t']], and the same of distances. The last
times are then on the diagonal t = t', wherever they were before.
"""

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.image import Image
from ntkjax._kernel.algebra.operation import Context, LayerError, Seen, Step, operation, static
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.operations.whole import (
    WholeOperation,
    as_pairs,
    flat_map,
    interleaved,
    padded_map,
    square,
)


def check_sequence(signal: Signal) -> None:
    """A recurrent layer goes along the one spatial axis of its input."""
    if len(signal.sizes) != 1:
        raise LayerError(
            f"its input of shape {signal.shape1} has {len(signal.sizes)} spatial axes, but one is "
            "time; give it an input of shape (batch, time, channels)."
        )


@operation
class Align(WholeOperation):
    """Put masked times in front of all others, or behind them; or all back to where they were.

    What is known of masks stays that of times at their own places.
    """

    to_end: bool = static()
    is_back: bool = static(default=False)

    needs_self = False
    unmasks = False

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        check_sequence(signals[0])
        return signals[0]

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, Array]:
        """The order of times, `[time, image]`."""
        (image,), step = images, context.step
        mask = image.mask
        if mask is None:
            mask = jnp.zeros((*step.below.sizes, *image.scale.shape), bool)
        order = jnp.argsort(~mask if self.to_end else mask, axis=0, stable=True)
        if self.is_back:
            order = jnp.argsort(order, axis=0)
        if image.variance is not None:
            var = jnp.take_along_axis(flat_map(image.variance, step.below), order, 0)
            image = image.with_variance(padded_map(var, step.here.cross))
        return image, order

    def whole(self, pairs: Pairs, seen: Seen, step: Step) -> Pairs:
        def reordered(matrix: Array) -> Array:
            matrix = square(matrix, step.below)
            first, second = as_pairs(seen.first, seen.second, matrix.ndim > 3)
            matrix = jnp.take_along_axis(matrix, first, -2, mode="clip")
            return interleaved(jnp.take_along_axis(matrix, second, -1, mode="clip"), step.below)

        return pairs.map(reordered)
