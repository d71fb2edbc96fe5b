"""A window that slides along one axis: the geometry shared by convolutions and pools.

Output position P looks at the input positions p_i = stride * P + dilation * i - before, one for
each tap i. Along a cyclic diagonal (see `diagonals.py`) the partner of P is Q = (P + D) mod T and
sees q_i by the same rule, so q_j - p_i = stride * D + dilation * (j - i): which input diagonal a
pair of taps reads depends on D alone, provided that the input period divides stride * T.
"""

import dataclasses
import math
from fractions import Fraction
from typing import Any

import numpy as np
from jax import Array, lax

from ntkjax._kernel.algebra.operation import LayerError
from ntkjax._kernel.algebra.signal import Signal

PADDINGS = ("SAME", "VALID", "CIRCULAR")


@dataclasses.dataclass(frozen=True)
class Window:
    """One axis of a sliding window.

    Attributes:
      taps: how many input positions each output position looks at.
      stride: input positions between neighbouring outputs.
      dilation: input positions between neighbouring taps.
      padding: `SAME`, `VALID` (no padding), `CIRCULAR` (the axis is a ring), or how many positions
        to pad before the first and after the last one; fewer than none cut positions off.
      start: on a ring, how many positions before the first one the window of the first output
        starts; None for as many as `SAME` pads there.
    """

    taps: int
    stride: int = 1
    dilation: int = 1
    padding: str | tuple[int, int] = "VALID"
    start: int | None = None

    @property
    def is_circular(self) -> bool:
        """Whether positions beyond the last are the first ones again."""
        return self.padding == "CIRCULAR"

    @property
    def extent(self) -> int:
        """Input positions from the first tap to the last, both included."""
        return self.dilation * (self.taps - 1) + 1

    def size_out(self, size: int) -> int:
        """Number of output positions for `size` input positions; 0 where none fits."""
        if isinstance(self.padding, tuple):
            span = size + sum(self.padding) - self.extent
        else:
            span = size - self.extent if self.padding == "VALID" else size - 1
        return max(span // self.stride + 1, 0)

    def before(self, size: int) -> int:
        """Padded positions before the first one (of an odd total, the smaller half)."""
        if isinstance(self.padding, tuple):
            return self.padding[0]
        if self.is_circular and self.start is not None:
            return self.start
        if self.padding == "VALID":
            return 0
        total = (self.size_out(size) - 1) * self.stride + self.extent - size
        return max(total, 0) // 2

    def period_ratio(self, size: int) -> tuple[Fraction, int | None]:
        """Output period over input period, and the input period itself where it is fixed.

        With this ratio the input period divides stride * (output period), so that every output
        diagonal reads whole input diagonals. A ring has no dead places: its period is its size.
        """
        if self.is_circular:
            return Fraction(1, math.gcd(size, self.stride)), size
        return Fraction(1, self.stride), None

    def source_row(self, row: Any, period: int, shift: int = 0) -> Any:
        """Input row under an output row, for a tap pair whose second is `shift` taps further."""
        if self.stride == 1 and shift == 0:
            return row
        return (self.stride * row + self.dilation * shift) % period

    def positions(self, tap: int, size: int, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Input positions of a tap, and whether they lie inside the image."""
        position = self.stride * outputs + self.dilation * tap - self.before(size)
        live_output = (outputs >= 0) & (outputs < self.size_out(size))
        if self.is_circular:
            return position % size, live_output
        return position, live_output & (position >= 0) & (position < size)

    def middle(self, size: int) -> np.ndarray:
        """The input position in the middle of the window of each output (of two, the first)."""
        position = self.stride * np.arange(self.size_out(size)) + (self.extent - 1) // 2
        position = position - self.before(size)
        return position % size if self.is_circular else position

    def inside(self, size: int, period: int) -> list[np.ndarray]:
        """For each tap, at which of the outputs 0 .. period - 1 it lies inside the image."""
        outputs = np.arange(period)
        return [self.positions(tap, size, outputs)[1] for tap in range(self.taps)]

    def reached(self, size: int) -> np.ndarray:
        """Which input positions some tap of each output looks at: (output, input)."""
        outputs = np.arange(self.size_out(size))
        seen = np.zeros((len(outputs), size), bool)
        for tap in range(self.taps):
            position, is_inside = self.positions(tap, size, outputs)
            seen[outputs[is_inside], position[is_inside]] = True
        return seen

    def can_leave(self, size: int) -> bool:
        """Whether a tap of some output lies outside the image."""
        return not all(mask.all() for mask in self.inside(size, self.size_out(size)))

    def counts(self, size: int) -> np.ndarray:
        """For each output position, how many of its taps lie inside the image."""
        outputs = np.arange(self.size_out(size))
        inside = [self.positions(tap, size, outputs)[1] for tap in range(self.taps)]
        return np.sum(inside, axis=0, dtype=int)

    def halo(self, size: int, period: int, period_out: int) -> tuple[int, int]:
        """Entries before the first and after the last of `period` that some tap reads."""
        before = self.before(size)
        last = self.stride * (period_out - 1) + self.dilation * (self.taps - 1) - before
        return max(before, 0), max(last - period + 1, 0)

    def first(self, tap: int, size: int) -> int:
        """The entry, in an array with the window's halo, at which a tap finds its first input."""
        # Less `before`, plus the halo of as many entries, of which there are none to cut off.
        return self.dilation * tap + max(-self.before(size), 0)

    def slide(self, array: Array, axis: int, tap: int, size: int, period_out: int) -> Array:
        """Entries at a tap's positions along `axis`, for outputs 0 .. period_out - 1.

        `array` has the window's halo around the positions. What a tap sees outside the image is
        arbitrary: the caller masks it.
        """
        first = self.first(tap, size)
        last = first + self.stride * (period_out - 1)
        return lax.slice_in_dim(array, first, last + 1, self.stride, axis)


def infer_windows(windows: tuple[Window, ...], signal: Signal) -> Signal:
    """The signal after windows slid over its spatial axes."""
    if len(windows) != len(signal.sizes):
        raise LayerError(
            f"its window has {len(windows)} spatial axes, but the input of shape {signal.shape1} "
            f"({signal.layout}) has {len(signal.sizes)}; give a window, strides and padding for "
            "each spatial axis of the input, and mind which axes are batch and channels."
        )
    sizes = tuple(w.size_out(n) for w, n in zip(windows, signal.sizes, strict=True))
    if 0 in sizes:
        raise LayerError(
            f"its window spans {tuple(w.extent for w in windows)} positions and does not fit into "
            f"the input of {signal.sizes} positions; use padding='SAME' or a smaller window."
        )
    return signal.with_sizes(sizes)
