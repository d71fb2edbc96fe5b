"""Tap sum: the part of a convolution that moves along the image.

    K'[P, Q] = mean over taps i of K[p_i, q_i],

the same tap on both sides, since the weights are shared (Arora et al. 2019, section 4). Axis by
axis, output diagonal D is made of the input diagonal stride * D alone. A point outside the image is
zero; where a tap leaves it on one side only, the squared distance is the other side's variance:

    D'[P, Q] = mean over taps of { D[p_i, q_i] both inside; v1[p_i], v2[q_i] one inside; 0 none }.
"""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.diagonals import Diagonals, Rows, Shift, along, shifted
from ntkjax._kernel.operation import RowOperation, Step, operation, static
from ntkjax._kernel.signal import Signal
from ntkjax._kernel.state import Pairs, Row, Side
from ntkjax._kernel.window import Window, infer_windows

#: For each tap, which outputs it counts for: a mask along one axis, or None for all.
Masks = Sequence[Any]


@operation
class TapSum(RowOperation):
    """Mean over the taps of one window per spatial axis, axis by axis."""

    windows: tuple[Window, ...] = static()

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        return dataclasses.replace(infer_windows(self.windows, signal), is_gaussian=False)

    def period_ratio(self, signal: Signal, axis: int) -> tuple[Fraction, int | None]:
        return self.windows[axis].period_ratio(signal.sizes[axis])

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        return tuple(
            tuple(sorted({window.source_row(row, period) for row in rows}))
            for window, rows, period in zip(self.windows, wanted.rows, given.periods, strict=True)
        )

    @property
    def keeps_rows(self) -> bool:
        return all(window.stride == 1 for window in self.windows)

    def source(self, shift: Shift, below: Diagonals) -> Shift:
        axes = zip(self.windows, shift, below.periods, strict=True)
        return tuple(window.source_row(d, period) for window, d, period in axes)

    def variance(self, variances: tuple[Array, ...], step: Step) -> Array:
        (var,) = variances
        for axis, window in enumerate(self.windows):
            var = _mean(var, axis, window, step.below, step.here, _own_masks(window, axis, step))
        return var

    def masks(self, here: Row, below: Row) -> list[Masks]:
        """For each axis and tap, the outputs where it is inside the image on both sides."""
        return [
            [
                None if own.all() else own & _partner(own, shift)
                for own in window.inside(size, period)
            ]
            for window, size, period, shift in zip(
                self.windows, below.grid.sizes, here.grid.periods, here.shift, strict=True
            )
        ]

    def image(
        self, variance: Array | None, side: Side, here: Row, below: Row, step: Step
    ) -> Array | None:
        """The variances where a tap lies inside the image on this side alone."""
        one_sided = [
            window.can_leave(n) for window, n in zip(self.windows, below.grid.sizes, strict=True)
        ]
        if not step.in_distances or not any(one_sided):
            return None
        assert variance is not None
        both, alone = self.masks(here, below), None
        for axis, window in enumerate(self.windows):
            # Axes up to this one are at the resolution of the output, those after it are not yet.
            shift = (*here.shift[: axis + 1], *below.shift[axis + 1 :])
            live = np.arange(here.grid.periods[axis]) < here.grid.sizes[axis]
            insides = window.inside(below.grid.sizes[axis], here.grid.periods[axis])
            masks: list[Any] = []
            for own in insides:
                other = _partner(own, here.shift[axis])
                if side.is_second:
                    masks.append(other & ~own & live)
                else:
                    masks.append(own & ~other & _partner(live, here.shift[axis]))
            if alone is not None:
                alone = _mean(alone, axis, window, step.below, step.here, both[axis])
            if one_sided[axis]:
                size, period = below.grid.sizes[axis], here.grid.periods[axis]
                slides = [
                    side.see(window.slide(variance, axis, tap, size, period), shift)
                    for tap in range(window.taps)
                ]
                own_part = _weighted(slides, masks, axis)
                alone = own_part if alone is None else alone + own_part
            variance = _mean(
                variance, axis, window, step.below, step.here, _own_masks(window, axis, step)
            )
        return alone

    def pair(
        self, pairs: tuple[Pairs, ...], masks: Any, first: Any, second: Any, step: Step
    ) -> Pairs:
        def summed(array: Array) -> Array:
            for axis, window in enumerate(self.windows):
                array = _mean(array, axis, window, step.below, step.here, masks[axis])
            return array

        given = pairs[0].map(summed)
        if first is None:
            return given
        return Pairs(given.moment + first + second, given.ntk)


def _partner(mask: np.ndarray, shift: int | Array) -> Any:
    """A mask along one axis as seen from the partner."""
    if isinstance(shift, int):
        return np.roll(mask, -shift)
    return shifted(jnp.asarray(mask), (shift,))


def _own_masks(window: Window, axis: int, step: Step) -> Masks:
    """The masks of a single image's positions."""
    insides = window.inside(step.below.sizes[axis], step.here.periods[axis])
    return [None if mask.all() else mask for mask in insides]


def _mean(
    array: Array, axis: int, window: Window, below: Diagonals, here: Diagonals, masks: Masks
) -> Array:
    """Mean over taps of the entries at their positions, where the masks let them through."""
    size, period = below.sizes[axis], here.periods[axis]
    slides = [window.slide(array, axis, tap, size, period) for tap in range(window.taps)]
    return _weighted(slides, masks, axis)


def _weighted(slides: list[Array], masks: Masks, axis: int) -> Array:
    """Mean over taps of masked arrays."""
    total: Array | float = 0.0
    for slide, mask in zip(slides, masks, strict=True):
        if mask is not None:
            slide = slide * along(mask, slide.ndim, axis).astype(slide.dtype)
        total = total + slide
    return total / len(slides)  # type: ignore[return-value]
