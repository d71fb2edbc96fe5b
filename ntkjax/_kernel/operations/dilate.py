"""Zeros between neighbouring positions: the first step of a transposed convolution.

With a stride of s, position s p of the output is position p of the input, and all others are zero:

    K'[s p, s q] = K[p, q],    and 0 elsewhere.

Along an axis, output diagonal D is made of the input diagonal D / s where s divides D. On any other
diagonal no pair has two positions that are not zero, and the distance is that of the one that is
not, if any: D'[P, Q] = v1'[P] + v2'[Q]. Of two positions and s = 2, with the output 0 . 1 . of
period 4, diagonal 2 is made of diagonal 1, and diagonals 1 and 3 of variances alone.
"""

import dataclasses
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntkjax._kernel.algebra.diagonals import Diagonals, Rows, Shift
from ntkjax._kernel.algebra.image import Image, on_positions
from ntkjax._kernel.algebra.operation import (
    Context,
    LayerError,
    RowOperation,
    Seen,
    Step,
    operation,
    static,
)
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.algebra.sides import Row
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.operations.taps import TapSum


@operation
class Dilate(RowOperation):
    """Put zeros between positions: as many positions as before, times a stride along each axis."""

    strides: tuple[int, ...] = static()
    #: Axes that are rings, whose period is their size.
    is_circular: bool = static()

    carries_supplement = True
    works_unscaled = True
    maps_output = True

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        if len(self.strides) != len(signal.sizes):
            raise LayerError(
                f"its filter has {len(self.strides)} spatial axes, but the input of shape "
                f"{signal.shape1} ({signal.layout}) has {len(signal.sizes)}; give a filter_shape "
                "with one entry for each spatial axis of the input."
            )
        sizes = tuple(n * s for n, s in zip(signal.sizes, self.strides, strict=True))
        return dataclasses.replace(signal.with_sizes(sizes), is_gaussian=False)

    def period_ratio(self, signal: Signal, axis: int) -> tuple[Fraction, int | None]:
        fixed = signal.sizes[axis] if self.is_circular else None
        return Fraction(self.strides[axis]), fixed

    @property
    def keeps_rows(self) -> bool:
        return False

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        axes = zip(wanted.rows, self.strides, strict=True)
        return tuple(tuple(sorted({_below(row, s) for row in rows})) for rows, s in axes)

    def source(self, shift: Shift, below: Diagonals) -> Shift:
        return tuple(_below(d, s) for d, s in zip(shift, self.strides, strict=True))

    def mask(self, masks: tuple[Array, ...], signal: Signal) -> Array:
        """Zeros between positions are not masked."""
        return self._dilated(masks[0])

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, Array | None]:
        """The variances, of the output."""
        (image,) = images
        if image.variance is None:
            return image, None
        after = self._dilated(image.variance)
        return image.with_variance(after), after

    def masks(self, here: Row, below: Row | None, step: Step) -> Array:
        """Whether these are diagonals on which positions of the input meet."""
        met = jnp.asarray(True)
        for d, s in zip(here.shift, self.strides, strict=True):
            met &= jnp.asarray(d) % s == 0
        return met

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        given = pairs[0].map(self._dilated)
        met = on_positions(seen.masks, given.moment.ndim)
        is_distance = step.here.form.is_distance
        apart = seen.first + seen.second if is_distance else jnp.zeros_like(given.moment)
        ntk = None if given.ntk is None else jnp.where(met, given.ntk, 0.0)
        return Pairs(jnp.where(met, given.moment, apart), ntk)

    def _dilated(self, array: Array) -> Array:
        """A row, or a map of positions, with zeros between its positions."""
        between = [(0, s - 1, s - 1) for s in self.strides]
        others = [(0, 0, 0)] * (array.ndim - len(between))
        return lax.pad(array, jnp.zeros((), array.dtype), [*between, *others])


@operation
class TransposedTapSum(TapSum):
    """The tap sum of a transposed convolution: a masked position masks all that it reaches."""

    def mask(self, masks: tuple[Array, ...], signal: Signal) -> Array:
        (mask,) = masks
        for axis, window in enumerate(self.windows):
            reached = window.reached(mask.shape[axis]).astype(np.float32)
            counts = jnp.tensordot(reached, mask.astype(np.float32), (1, axis))
            mask = jnp.moveaxis(counts, 0, axis) > 0
        return mask


def _below(row: Any, stride: int) -> Any:
    """The input diagonal of an output diagonal; of one where nothing meets, whichever is there."""
    if isinstance(row, int):
        return row // stride if row % stride == 0 else 0
    where = np.where if isinstance(row, np.ndarray) else jnp.where
    return where(row % stride == 0, row // stride, 0 * row)
