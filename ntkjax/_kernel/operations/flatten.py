"""Flatten: positions become channels, so only equal positions meet.

K' = mean over p of K[p, p],   D' = mean over p of D[p, p].
"""

import dataclasses

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.diagonals import Diagonals, Rows, Shift
from ntkjax._kernel.algebra.image import Image
from ntkjax._kernel.algebra.operation import Context, RowOperation, Seen, Step, operation, static
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.operations.inputs import FlatInput


@operation
class Trace(RowOperation):
    """Mean of the diagonal of equal positions; their axes go away."""

    batch_axis: int = static()
    batch_axis_out: int = static()

    carries_supplement = True
    works_unscaled = True
    unmasks = False
    with_arrays = FlatInput()

    @property
    def keeps_periods(self) -> bool:
        return False

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        out = signal.without_positions(signal.features, self.batch_axis_out)
        # Channels that come from different positions are not identically distributed.
        if not signal.sizes:
            return out
        reason = "channels of different positions" if signal.is_gaussian else signal.reason
        return dataclasses.replace(out, is_gaussian=False, is_alike=False, reason=reason)

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        return given.zero().rows

    @property
    def keeps_rows(self) -> bool:
        return False

    def source(self, shift: Shift, below: Diagonals) -> Shift:
        return (0,) * below.ndim

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, None]:
        (image,) = images
        if image.variance is not None:
            image = image.with_variance(_mean(image.variance, context.step.below))
        return image, None

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        return pairs[0].map(lambda row: _mean(row, step.below))


def _mean(row: Array, grid: Diagonals) -> Array:
    return jnp.mean(row[grid.crop], axis=tuple(range(grid.ndim)))
