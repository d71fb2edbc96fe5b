"""Flatten: positions become channels, so only equal positions meet.

K' = mean over p of K[p, p],   D' = mean over p of D[p, p].
"""

import dataclasses

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.diagonals import Diagonals, Rows
from ntkjax._kernel.operation import Operation, Step, map_pairs, map_variances, operation, static
from ntkjax._kernel.signal import Signal
from ntkjax._kernel.state import Pairs, State, View


@operation
class Trace(Operation):
    """Mean of the diagonal of equal positions; their axes go away."""

    batch_axis: int = static()
    batch_axis_out: int = static()

    keeps_axes = False

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        out = signal.without_positions(signal.features, self.batch_axis_out)
        # Channels that come from different positions are not identically distributed.
        return dataclasses.replace(out, is_gaussian=signal.is_gaussian and not signal.sizes)

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        return given.zero().rows

    def apply(self, states: tuple[State, ...], step: Step) -> State:
        (state,) = states
        sizes = step.given.sizes

        def variance(var: Array) -> Array:
            var = var[tuple(slice(size) for size in sizes)]
            return jnp.mean(var, axis=tuple(range(len(sizes))))

        def pairs(pairs: Pairs, before: View, after: View) -> Pairs:
            zero = tuple(rows.index(0) for rows in before.diagonals.rows)
            return pairs.map(lambda array: variance(array[zero]))

        return map_pairs(state, step, map_variances(state, variance, step.symmetric), pairs)
