"""Positions at a constant distance: Index by slices. Each output diagonal is made of one.

A slice [1:6:2] of seven positions is a window of one tap and stride 2 that starts at position 1:
output diagonal D is input diagonal 2 D, at every second position. [::-1] reads a diagonal from its
end: z[P] = x[n - 1 - P], so that the pair (P, P + D) is the pair (n - 1 - P, n - 1 - P - D) before,
on diagonal -D.
"""

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.diagonals import Diagonals, Rows, Shift
from ntkjax._kernel.algebra.image import Image
from ntkjax._kernel.algebra.operation import Context, RowOperation, Seen, Step, operation, static
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.algebra.window import infer_windows
from ntkjax._kernel.operations.taps import TapSum


@operation
class Crop(TapSum):
    """Windows of one tap, without weights: the channels stay what they are."""

    unmasks = False

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        return infer_windows(self.windows, signals[0])


@operation
class Reverse(RowOperation):
    """The positions of some spatial axes in reverse order."""

    axes: tuple[int, ...] = static()

    works_unscaled = True
    unmasks = False
    carries_supplement = True

    @property
    def keeps_rows(self) -> bool:
        return False

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        return signals[0]

    def source(self, shift: Shift, below: Diagonals) -> Shift:
        pairs = enumerate(zip(shift, below.periods, strict=True))
        return tuple(-d % period if k in self.axes else d for k, (d, period) in pairs)

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        pairs = enumerate(zip(wanted.rows, given.periods, strict=True))
        return tuple(
            tuple(sorted({-d % period for d in rows})) if k in self.axes else rows
            for k, (rows, period) in pairs
        )

    def _reversed(self, row: Array, grid: Diagonals) -> Array:
        """Entry P becomes entry n - 1 - P, around the end."""
        for axis in self.axes:
            dead = grid.periods[axis] - grid.sizes[axis]
            row = jnp.roll(jnp.flip(row, axis), -dead, axis)
        return row

    def mask(self, masks: tuple[Array, ...], signal: Signal) -> Array:
        return jnp.flip(masks[0], self.axes)

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, None]:
        (image,) = images
        if image.variance is not None:
            image = image.with_variance(self._reversed(image.variance, context.step.below))
        return image, None

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        return jax.tree.map(lambda row: self._reversed(row, step.below), pairs[0])
