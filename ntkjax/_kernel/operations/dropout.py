"""Dropout: multiply every activation by a random number of mean 1, which is 0 or 1 / r.

The numbers are drawn anew for each example, position and channel. So K and Theta of different
examples, or of different positions, are as before; those of one position of one example with itself
are multiplied by E (mask / r)^2 = 1 / r. In distances, with c = 1 / r - 1,

    D <- D + c (v1 + v2),    but D / r of a position of one example with itself, which is 0.

E (g + g')^2, the supplement, follows the same formulas.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.image import Image, on_positions
from ntkjax._kernel.algebra.operation import (
    Context,
    LayerError,
    RowOperation,
    Seen,
    Step,
    operation,
)
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.algebra.sides import Row
from ntkjax._kernel.algebra.signal import Signal

Scalar = float | Array


@operation
class RandomMask(RowOperation):
    """Keep every activation with probability `rate`, divided by it."""

    rate: Scalar

    carries_supplement = True
    works_unscaled = True
    #: Whether an example with itself has another kernel than with an equal one.
    tells_examples_apart = True

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        if not signal.sources:
            raise LayerError(
                "it cannot be applied to the inputs: they have few channels, whose random numbers "
                "do not average out; put a Dense or Conv before it."
            )
        return dataclasses.replace(
            signal, is_gaussian=False, reason="a random mask times an activation"
        )

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, Array | None]:
        """The variance before."""
        (image,) = images
        if image.variance is None:
            return image, None
        return image.with_variance(image.variance / self.rate), image.variance

    def masks(self, here: Row, below: Row | None, step: Step) -> Array:
        """Whether these are diagonals of equal positions."""
        return here.is_of_equal_positions

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        (given,) = pairs
        alike: Any = None
        if seen.same is not None:
            alike = seen.same & on_positions(seen.masks, seen.same.ndim)
            alike = on_positions(alike, given.moment.ndim)

        def unlike_or(array: Array, other: Array) -> Array:
            """An array, but for a position of one example with itself."""
            return other if alike is None else jnp.where(alike, array / self.rate, other)

        moment = given.moment
        if step.here.form.is_distance:
            more = (1 / self.rate - 1) * (seen.first + seen.second)
            after = unlike_or(moment, moment + more)
        else:
            after = unlike_or(moment, moment)
        return Pairs(after, None if given.ntk is None else unlike_or(given.ntk, given.ntk))
