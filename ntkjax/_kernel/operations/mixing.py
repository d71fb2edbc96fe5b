"""Operations that mix diagonals by a band of weights along each axis: pools, changes of period.

With one weight per output position and tap on either side, K'[P, Q] = sum_ij a_Pi a_Qj K[p_i, q_j]
=: M[K] (Arora et al. 2019, section 4.2): all pairs of positions, not equal ones. Along one axis,
input row e adds to a few output rows; to row D, at position P, the sum over taps i of
weight[D, i, P] times the entry at p_i. A table lists them for every input row.

In distances, with A_P = sum_i a_Pi, m[P] = sum_i a_Pi v[p_i] and
e[P] = M[D of an image with itself][P, P] / 2,

    v'[P] = A_P m[P] - e[P],
    D'[P, Q] = M[D][P, Q] - e1[P] - e2[Q] + (A_P - A_Q) (m1[P] - m2[Q]).
"""

import dataclasses
import functools
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntkjax._kernel.diagonals import Diagonals, Rows, Shift, along
from ntkjax._kernel.operation import MixingOperation, operation, static
from ntkjax._kernel.signal import Signal
from ntkjax._kernel.state import Halo, ring
from ntkjax._kernel.window import Window, infer_windows


@dataclasses.dataclass(frozen=True)
class Band:
    """What the input rows of one axis add to the output rows.

    Attributes:
      rows: output row (its index among those held) of each contribution: (input row, contribution).
      weights: weight of each tap at each output position: (input row, contribution, tap, period).
    """

    rows: np.ndarray
    weights: np.ndarray


class BandedMap(MixingOperation):
    """Base of operations given by a window and a band of weights for each axis."""

    def windows_for(self, below: Diagonals, here: Diagonals) -> tuple[Window, ...]:
        """The windows that find the positions of the taps."""
        raise NotImplementedError

    def contributions(self, axis: int, below: Diagonals, here: Diagonals, row: int) -> dict:
        """{input row: weights (tap, period)} that make up the output row `row` along an axis."""
        raise NotImplementedError

    def tap_weights(self, axis: int, below: Diagonals, here: Diagonals) -> np.ndarray:
        """a_Pi: weights of single positions, zero outside the image: (tap, period)."""
        raise NotImplementedError

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        return tuple(
            tuple(
                sorted(
                    {e for row in wanted.rows[axis]
                     for e in self.contributions(axis, given, wanted, row)}
                )
            )
            for axis in range(given.ndim)
        )  # fmt: skip

    def band(self, axis: int, below: Diagonals, here: Diagonals) -> Band:
        """The table of an axis, over the input rows that the output rows demand."""
        table: dict[int, list] = {}
        for index, row in enumerate(here.rows[axis]):
            for e, weights in self.contributions(axis, below, here, row).items():
                table.setdefault(e, []).append((index, weights))
        period = below.periods[axis]
        width = max(map(len, table.values()))
        taps = self.windows_for(below, here)[axis].taps
        rows = np.zeros((period, width), int)
        weights = np.zeros((period, width, taps, here.periods[axis]))
        for e, entries in table.items():
            for place, (index, weight) in enumerate(entries):
                rows[e, place], weights[e, place] = index, weight
        return Band(rows, weights)

    def start(self, here: Diagonals, lanes: tuple[int, ...]) -> tuple[int, ...]:
        return (*map(len, here.rows), *here.periods, *lanes)

    def add(
        self,
        total: Array,
        row: Array,
        shift: Shift,
        lanes: tuple[Any, ...],
        below: Diagonals,
        here: Diagonals,
    ) -> Array:
        windows = self.windows_for(below, here)
        bands = [self.band(axis, below, here) for axis in range(below.ndim)]

        def along_axes(total: Array, entries: Array, axis: int, place: tuple) -> Array:
            if axis == below.ndim:
                at = (*place, *(0,) * below.ndim, *lanes)
                update = entries.reshape((1,) * len(place) + entries.shape)
                held = lax.dynamic_slice(total, at, update.shape)
                return lax.dynamic_update_slice(total, held + update, at)
            rows = jnp.asarray(bands[axis].rows)[shift[axis]]
            weights = jnp.asarray(bands[axis].weights, entries.dtype)[shift[axis]]
            for part in range(rows.shape[0]):
                summed = _slide_sum(entries, axis, windows[axis], below, here, weights[part])
                total = along_axes(total, summed, axis + 1, (*place, rows[part]))
            return total

        return along_axes(total, row, 0, ())

    def halo(self, below: Diagonals, here: Diagonals) -> Halo:
        axes = zip(
            self.windows_for(below, here), below.sizes, below.periods, here.periods, strict=True
        )
        return tuple(window.halo(*axis) for window, *axis in axes)

    def positions(self, image_map: Array, below: Diagonals, here: Diagonals) -> Array:
        for axis, (low, high) in enumerate(self.halo(below, here)):
            period = below.periods[axis]
            image_map = ring(image_map, axis, -low % period, period + low + high)
        for axis, window in enumerate(self.windows_for(below, here)):
            weights = jnp.asarray(self.tap_weights(axis, below, here), image_map.dtype)
            image_map = _slide_sum(image_map, axis, window, below, here, weights)
        return image_map

    def mass(self, below: Diagonals, here: Diagonals) -> np.ndarray:
        """A_P, the sum of the weights of each output position."""
        sums = (
            along(self.tap_weights(axis, below, here).sum(0), below.ndim, axis)
            for axis in range(below.ndim)
        )
        return functools.reduce(np.multiply, sums, np.ones((1,) * below.ndim))


def _slide_sum(
    array: Array, axis: int, window: Window, below: Diagonals, here: Diagonals, weights: Array
) -> Array:
    """Weighted sum over taps of the entries at their positions."""
    size, period = below.sizes[axis], here.periods[axis]
    total: Any = 0.0
    for tap in range(window.taps):
        entries = window.slide(array, axis, tap, size, period)
        total = total + entries * along(weights[tap], entries.ndim, axis)
    return total


@operation
class WindowPool(BandedMap):
    """Sum over one window per spatial axis, or its mean.

    `normalize` is how an output is divided: `none` (a sum), `window` (by the number of taps) or
    `inside` (by the number of taps that lie inside the image).
    """

    windows: tuple[Window, ...] = static()
    normalize: str = static()

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        return infer_windows(self.windows, signals[0])

    def period_ratio(self, signal: Signal, axis: int) -> tuple[Fraction, int | None]:
        return self.windows[axis].period_ratio(signal.sizes[axis])

    @property
    def is_ring(self) -> bool:
        return any(window.is_circular for window in self.windows)

    def windows_for(self, below: Diagonals, here: Diagonals) -> tuple[Window, ...]:
        return self.windows

    def tap_weights(self, axis: int, below: Diagonals, here: Diagonals) -> np.ndarray:
        window, size = self.windows[axis], below.sizes[axis]
        inside = np.stack(window.inside(size, here.periods[axis])).astype(float)
        if self.normalize == "none":
            return inside
        if self.normalize == "window":
            return inside / window.taps
        return inside / np.maximum(inside.sum(0), 1)

    def contributions(self, axis: int, below: Diagonals, here: Diagonals, row: int) -> dict:
        window, own = self.windows[axis], self.tap_weights(axis, below, here)
        partner = np.roll(own, -row, axis=1)
        result: dict[int, np.ndarray] = {}
        for i in range(window.taps):
            for j in range(window.taps):
                e = window.source_row(row, below.periods[axis], j - i)
                weights = result.setdefault(e % below.periods[axis], np.zeros_like(own))
                weights[i] += own[i] * partner[j]
        return {e: weights for e, weights in result.items() if weights.any()} or result


@operation
class Reperiod(BandedMap):
    """The same kernel on diagonals of another period.

    Branches whose strides disagree, or a ring after an unpadded convolution, want their rows cut
    differently; the values stay the same, since K[p, q] lies on row (q - p) mod T for every T.
    """

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        return signals[0]

    def windows_for(self, below: Diagonals, here: Diagonals) -> tuple[Window, ...]:
        return (Window(1),) * below.ndim

    def tap_weights(self, axis: int, below: Diagonals, here: Diagonals) -> np.ndarray:
        return (np.arange(here.periods[axis]) < here.sizes[axis]).astype(float)[None]

    def contributions(self, axis: int, below: Diagonals, here: Diagonals, row: int) -> dict:
        live = here.live(axis, row)
        position = np.arange(here.periods[axis])
        step = (position + row) % here.periods[axis] - position
        source = step % below.periods[axis]
        return {int(e): (live & (source == e)).astype(float)[None] for e in set(source[live])}


@operation
class GlobalPool(MixingOperation):
    """Mean (or sum) over all positions, whose axes go away."""

    mean: bool = static()

    keeps_axes = False

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        batch_first = signal.batch_axis < signal.channel_axis
        return signal.without_positions(signal.channels, 0 if batch_first else 1)

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        return given.all().rows

    def _divisor(self, below: Diagonals) -> int:
        return int(np.prod(below.sizes)) if self.mean else 1

    def start(self, here: Diagonals, lanes: tuple[int, ...]) -> tuple[int, ...]:
        return lanes

    def add(
        self,
        total: Array,
        row: Array,
        shift: Shift,
        lanes: tuple[Any, ...],
        below: Diagonals,
        here: Diagonals,
    ) -> Array:
        for axis, (size, period) in enumerate(zip(below.sizes, below.periods, strict=True)):
            if size < period:
                live = np.stack([below.live(axis, d) for d in range(period)])
                mask = jnp.asarray(live, row.dtype)[shift[axis]]
                row = row * along(mask, row.ndim, axis)
        mean = jnp.sum(row, axis=tuple(range(below.ndim))) / self._divisor(below) ** 2
        held = lax.dynamic_slice(total, lanes, mean.shape)
        return lax.dynamic_update_slice(total, held + mean, lanes)

    def positions(self, image_map: Array, below: Diagonals, here: Diagonals) -> Array:
        axes = tuple(range(below.ndim))
        return jnp.sum(image_map[below.crop], axis=axes) / self._divisor(below)

    def mass(self, below: Diagonals, here: Diagonals) -> np.ndarray:
        """A, the sum of the weights."""
        return np.array(np.prod(below.sizes) / self._divisor(below))
