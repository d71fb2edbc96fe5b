"""Operations that slide one window along each spatial axis: tap sums and pools."""

from fractions import Fraction

from ntkjax._kernel.algebra.diagonals import Diagonals
from ntkjax._kernel.algebra.operation import Operation
from ntkjax._kernel.algebra.sides import Halo
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.algebra.window import Window


class Windowed(Operation):
    """What the windows decide alone: periods, and what is read beyond the ends of a row."""

    windows: tuple[Window, ...]

    def period_ratio(self, signal: Signal, axis: int) -> tuple[Fraction, int | None]:
        return self.windows[axis].period_ratio(signal.sizes[axis])

    def halo(self, below: Diagonals, here: Diagonals) -> Halo:
        axes = zip(self.windows, below.sizes, below.periods, here.periods, strict=True)
        return tuple(window.halo(*axis) for window, *axis in axes)

    @property
    def is_ring(self) -> bool:
        return any(window.is_circular for window in self.windows)
