"""Flatten: positions become channels, so only equal positions meet.

K' = mean over p of K[p, p],   D' = mean over p of D[p, p].
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.diagonals import Diagonals, Rows, Shift
from ntkjax._kernel.algebra.operation import RowOperation, Step, operation, static
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.algebra.state import Pairs


@operation
class Trace(RowOperation):
    """Mean of the diagonal of equal positions; their axes go away."""

    batch_axis: int = static()
    batch_axis_out: int = static()

    @property
    def keeps_periods(self) -> bool:
        return False

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        out = signal.without_positions(signal.features, self.batch_axis_out)
        # Channels that come from different positions are not identically distributed.
        return dataclasses.replace(out, is_gaussian=signal.is_gaussian and not signal.sizes)

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        return given.zero().rows

    @property
    def keeps_rows(self) -> bool:
        return False

    def source(self, shift: Shift, below: Diagonals) -> Shift:
        return (0,) * below.ndim

    def variance(self, variances: tuple[Array, ...], step: Step) -> Array:
        return _mean(variances[0], step.below)

    def pair(
        self, pairs: tuple[Pairs, ...], masks: Any, first: Any, second: Any, step: Step
    ) -> Pairs:
        return pairs[0].map(lambda row: _mean(row, step.below))


def _mean(row: Array, grid: Diagonals) -> Array:
    return jnp.mean(row[grid.crop], axis=tuple(range(grid.ndim)))
