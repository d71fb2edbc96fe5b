"""Pools over a sliding window, and over the whole image."""

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.diagonals import Diagonals, Rows, along, take_rows
from ntkjax._kernel.operation import operation, static
from ntkjax._kernel.operations.linear import LinearMap
from ntkjax._kernel.signal import Signal
from ntkjax._kernel.window import Window, infer_windows, inside


@operation
class WindowPool(LinearMap):
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

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        return tuple(
            tuple(sorted({
                int(row)
                for shift in range(1 - window.taps, window.taps)
                for row in window.source_rows(np.array(rows), period, shift)
            }))
            for window, rows, period in zip(self.windows, wanted.rows, given.periods)
        )  # fmt: skip

    def _weights(self, window: Window, size: int, period: int) -> np.ndarray:
        """The weight of each tap of each output position, were it inside: (period,)."""
        weights = np.zeros(period)
        sizes = {
            "none": np.ones(1),
            "window": np.full(1, window.taps),
            "inside": window.counts(size),
        }
        weights[: window.size_out(size)] = 1 / sizes[self.normalize]
        return weights

    def on_diagonals(self, array: Array, given: Diagonals, wanted: Diagonals) -> Array:
        for axis, window in enumerate(self.windows):
            size, period = given.sizes[axis], wanted.periods[axis]
            first, second = inside(window, wanted, axis, size)
            axes = (axis, given.ndim + axis)
            total: Array | float = 0.0
            for shift in range(1 - window.taps, window.taps):
                rows = window.source_rows(np.array(wanted.rows[axis]), given.periods[axis], shift)
                band = take_rows(array, axis, given.rows[axis], rows)
                for tap in range(max(0, -shift), min(window.taps, window.taps - shift)):
                    mask = along(first[tap] & second[tap + shift], array.ndim, *axes)
                    entries = window.slide(band, axes[1], tap, size, period)
                    total = total + entries * mask.astype(array.dtype)
            weights = self._weights(window, size, period)
            scale = weights[None, :] * weights[wanted.partners(axis)]
            array = total * along(scale, array.ndim, *axes).astype(array.dtype)
        return array

    def on_positions(self, image_map: Array, given: Diagonals, wanted: Diagonals) -> Array:
        for axis, window in enumerate(self.windows):
            size, period = given.sizes[axis], wanted.periods[axis]
            total: Array | float = 0.0
            for tap in range(window.taps):
                _, live = window.positions(tap, size, np.arange(period))
                entries = window.slide(image_map, axis, tap, size, period)
                total = total + entries * along(live, image_map.ndim, axis).astype(image_map.dtype)
            weights = along(self._weights(window, size, period), image_map.ndim, axis)
            image_map = total * weights.astype(image_map.dtype)
        return image_map

    def mass(self, given: Diagonals, wanted: Diagonals) -> np.ndarray:
        mass = np.ones((1,) * given.ndim)
        for axis, window in enumerate(self.windows):
            size, period = given.sizes[axis], wanted.periods[axis]
            counts = np.zeros(period)
            counts[: window.size_out(size)] = window.counts(size)
            mass = mass * along(counts * self._weights(window, size, period), given.ndim, axis)
        return mass


@operation
class GlobalPool(LinearMap):
    """Mean (or sum) over all positions, whose axes go away."""

    mean: bool = static()

    keeps_axes = False

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        batch_first = signal.batch_axis < signal.channel_axis
        return signal.without_positions(signal.channels, 0 if batch_first else 1)

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        return given.all().rows

    def _divisor(self, given: Diagonals) -> int:
        return int(np.prod(given.sizes)) if self.mean else 1

    def on_diagonals(self, array: Array, given: Diagonals, wanted: Diagonals) -> Array:
        for axis in range(given.ndim):
            live = along(given.live(axis), array.ndim, axis, given.ndim + axis)
            array = array if live.all() else array * live.astype(array.dtype)
        return jnp.sum(array, axis=tuple(range(2 * given.ndim))) / self._divisor(given) ** 2

    def on_positions(self, image_map: Array, given: Diagonals, wanted: Diagonals) -> Array:
        image_map = image_map[tuple(slice(size) for size in given.sizes)]
        return jnp.sum(image_map, axis=tuple(range(given.ndim))) / self._divisor(given)

    def mass(self, given: Diagonals, wanted: Diagonals) -> np.ndarray:
        return np.array(np.prod(given.sizes) / self._divisor(given))
