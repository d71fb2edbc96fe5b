"""Tap sum: the part of a convolution that moves along the image.

    K'[P, Q] = mean over taps i of K[p_i, q_i],

the same tap on both sides, since the weights are shared (Arora et al. 2019, section 4). Axis by
axis, output diagonal D is made of the input diagonal stride * D alone. A point outside the image is
zero; where a tap leaves it on one side only, the squared distance is the other side's variance:

    D'[P, Q] = mean over taps of { D[p_i, q_i] both inside; v1[p_i], v2[q_i] one inside; 0 none }.
"""

import dataclasses
import functools
import itertools
import math
import operator
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntkjax._kernel.boundary import linear_materialized
from ntkjax._kernel.diagonals import Diagonals, Rows, Shift, along
from ntkjax._kernel.operation import RowOperation, Step, operation, static
from ntkjax._kernel.signal import Signal
from ntkjax._kernel.state import Halo, Pairs, Row, Side, ringed
from ntkjax._kernel.window import Window, infer_windows

#: For each axis and tap, which outputs it counts for: a mask along the axis, or None for all.
Masks = Sequence[Sequence[Any]]


@operation
class TapSum(RowOperation):
    """Mean over the taps of one window per spatial axis."""

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
    def work(self) -> int:
        return 2 * self._count

    @property
    def keeps_rows(self) -> bool:
        return all(window.stride == 1 for window in self.windows)

    def source(self, shift: Shift, below: Diagonals) -> Shift:
        axes = zip(self.windows, shift, below.periods, strict=True)
        return tuple(window.source_row(d, period) for window, d, period in axes)

    def halo(self, below: Diagonals, here: Diagonals) -> Halo:
        axes = zip(self.windows, below.sizes, below.periods, here.periods, strict=True)
        return tuple(window.halo(*axis) for window, *axis in axes)

    @property
    def is_ring(self) -> bool:
        return any(window.is_circular for window in self.windows)

    def variance(self, variances: tuple[Array, ...], step: Step) -> Array:
        halo = self.halo(step.below, step.here)
        var = ringed(variances[0], step.below.periods, halo)
        masks = [
            [None if own.all() else own for own in window.inside(size, period)]
            for window, size, period in zip(
                self.windows, step.below.sizes, step.here.periods, strict=True
            )
        ]
        return self._mean(var, masks, step)

    def masks(self, here: Row, below: Row) -> "TapMasks":
        """Where taps lie inside the image on both sides, and on either side alone."""
        first = [
            window.inside(size, period)
            for window, size, period in zip(
                self.windows, below.grid.sizes, here.grid.periods, strict=True
            )
        ]
        second = [
            [_partner(inside, d) for inside in of_axis]
            for of_axis, d in zip(first, here.shift, strict=True)
        ]
        both = [
            [None if own.all() else own & other for own, other in zip(*sides, strict=True)]
            for sides in zip(first, second, strict=True)
        ]
        if self._leave_together(here) or not self._can_leave(below.grid):
            return TapMasks(both, None, None)
        exists = [
            np.arange(period) < size
            for size, period in zip(here.grid.sizes, here.grid.periods, strict=True)
        ]
        live = [e & _partner(e, d) for e, d in zip(exists, here.shift, strict=True)]
        taps = list(itertools.product(*(range(window.taps) for window in self.windows)))

        def alone(own: list, other: list) -> list:
            return [
                _outer([masks[i] for masks, i in zip(own, tap, strict=True)])
                & ~_outer([masks[i] for masks, i in zip(other, tap, strict=True)])
                & _outer(live)
                for tap in taps
            ]

        return TapMasks(both, alone(first, second), alone(second, first))

    def _leave_together(self, here: Row) -> bool:
        """Whether the pairs are of equal positions."""
        return all(isinstance(d, int) and d == 0 for d in here.shift)

    def _can_leave(self, below: Diagonals) -> bool:
        pairs = zip(self.windows, below.sizes, strict=True)
        return any(window.can_leave(size) for window, size in pairs)

    def maps(self, variance: Array | None, step: Step) -> Array | None:
        """The variance, of which an image contributes where a tap leaves the other one."""
        return variance if step.in_distances and self._can_leave(step.below) else None

    def image(
        self, maps: Array | None, masks: "TapMasks", side: Side, here: Row, below: Row, step: Step
    ) -> Any:
        """The mean over taps of the variances where a tap is inside on this side alone."""
        alone = masks.second if side.is_second else masks.first
        if maps is None or alone is None:
            return None
        variance = side.see(maps, below, self.halo(step.below, step.here))
        taps = itertools.product(*(range(window.taps) for window in self.windows))
        total: Any = 0.0
        for tap, mask in zip(taps, alone, strict=True):
            entries = self._at(tap, variance, step)
            mask = mask.reshape(mask.shape + (1,) * (entries.ndim - mask.ndim))
            total = total + entries * mask.astype(entries.dtype)
        return total / self._count

    def pair(
        self, pairs: tuple[Pairs, ...], masks: "TapMasks", first: Any, second: Any, step: Step
    ) -> Pairs:
        given = pairs[0].map(lambda array: self._mean(array, masks.both, step))
        if first is None:
            return given
        return Pairs(given.moment + first + second, given.ntk)

    @property
    def _count(self) -> int:
        return math.prod(window.taps for window in self.windows)

    def _at(self, taps: tuple[int, ...], array: Array, step: Step) -> Array:
        """Entries at one tap's positions."""
        for axis, (window, tap) in enumerate(zip(self.windows, taps, strict=True)):
            size, period = step.below.sizes[axis], step.here.periods[axis]
            array = window.slide(array, axis, tap, size, period)
        return array

    def _mean(self, array: Array, masks: Masks, step: Step) -> Array:
        """Mean over taps of the entries at their positions, where the masks let them through."""

        def over_taps(array: Array, weights: Any) -> Array:
            def inner(axis: int, taps: tuple[int, ...]) -> Array:
                if axis == len(self.windows):
                    return self._at(taps, array, step)
                total: Any = None
                for tap, weight in enumerate(weights[axis]):
                    part = inner(axis + 1, (*taps, tap))
                    if weight is not None:
                        part = part * along(weight, part.ndim, axis)
                    total = part if total is None else total + part
                return total

            return inner(0, ())

        weights = [
            [None if mask is None else jnp.asarray(mask, array.dtype) for mask in of_axis]
            for of_axis in masks
        ]
        return linear_materialized(over_taps, array, weights) * (1 / self._count)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TapMasks:
    """Which outputs of a diagonal a tap counts for.

    Attributes:
      both: for each axis and tap, where it is inside the image on both sides; None for everywhere.
      first: for each tap of all axes, where it is inside the first image alone; None for nowhere.
      second: the same for the second image.
    """

    both: Masks
    first: Any
    second: Any


def _partner(mask: np.ndarray, shift: int | Array) -> Any:
    """A mask along one axis as seen from the partner."""
    if isinstance(shift, int):
        return np.roll(mask, -shift)
    twice = jnp.asarray(np.concatenate([mask, mask]))
    return lax.dynamic_slice_in_dim(twice, shift, len(mask))


def _outer(parts: Sequence[Any]) -> Any:
    """The product of masks along one axis each."""
    spread = (along(part, len(parts), axis) for axis, part in enumerate(parts))
    return functools.reduce(operator.and_, spread)
