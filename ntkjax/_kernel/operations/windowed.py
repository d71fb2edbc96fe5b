"""Operations that slide one window along each spatial axis: tap sums and pools."""

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.algebra.diagonals import Diagonals, along
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

    def mask(self, masks: tuple[Array, ...], signal: Signal) -> Array:
        """That of the position in the middle of a window; as it was where none is left out."""
        (mask,) = masks
        if mask.shape[:-1] == signal.sizes:
            return mask
        for axis, (window, size) in enumerate(zip(self.windows, mask.shape, strict=False)):
            middle = window.middle(size)
            inside = np.clip(middle, 0, size - 1)
            # Beyond the image nothing is masked, as nothing is there.
            exists = along((inside == middle), mask.ndim, axis)
            mask = jnp.take(mask, inside, axis=axis) & exists
        return mask

    @property
    def is_ring(self) -> bool:
        return any(window.is_circular for window in self.windows)
