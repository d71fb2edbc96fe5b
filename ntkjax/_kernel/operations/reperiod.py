"""Change of period: the same kernel between positions, on diagonals of another period.

Branches whose strides disagree, or a ring after an unpadded convolution, want their rows cut
differently; the values stay the same, since K[p, q] lies on row (q - p) mod T for every T.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.diagonals import Diagonals, Rows, along
from ntkjax._kernel.operation import Operation, Step, map_pairs, map_variances, operation
from ntkjax._kernel.signal import Signal
from ntkjax._kernel.state import Pairs, State, View


@operation
class Reperiod(Operation):
    """Store the same kernel on diagonals of another period."""

    mixes_diagonals = True

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        return signals[0]

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        rows = []
        for axis, period in enumerate(given.periods):
            live = wanted.live(axis)
            steps = wanted.partners(axis) - np.arange(wanted.periods[axis])[None, :]
            rows.append(tuple(sorted(set((steps[live] % period).tolist()))))
        return tuple(rows)

    def apply(self, states: tuple[State, ...], step: Step) -> State:
        (state,) = states
        sizes, periods = step.given.sizes, step.wanted.periods

        def variance(var: Array) -> Array:
            var = var[tuple(slice(size) for size in sizes)]
            pad = [(0, period - size) for size, period in zip(sizes, periods)]
            return jnp.pad(var, pad + [(0, 0)] * (var.ndim - len(sizes)))

        def pairs(pairs: Pairs, before: View, after: View) -> Pairs:
            return pairs.map(lambda array: _move(array, before.diagonals, after.diagonals))

        return map_pairs(state, step, map_variances(state, variance, step.symmetric), pairs)


def _move(array: Array, given: Diagonals, wanted: Diagonals) -> Array:
    """Rows of one period to rows of another; places that are no pair of positions become zero."""
    ndim = given.ndim
    rows, positions = [], []
    for axis in range(ndim):
        live = wanted.live(axis)
        p = np.where(live, np.arange(wanted.periods[axis])[None, :], 0)
        step = np.where(live, wanted.partners(axis) - p, 0) % given.periods[axis]
        index = {row: i for i, row in enumerate(given.rows[axis])}
        held = np.vectorize(lambda row, index=index: index.get(row, 0), otypes=[int])(step)
        rows.append(along(held, 2 * ndim, axis, ndim + axis))
        positions.append(along(p, 2 * ndim, axis, ndim + axis))
    moved = array[(*rows, *positions)]
    for axis in range(ndim):
        live = along(wanted.live(axis), moved.ndim, axis, ndim + axis)
        moved = moved * live.astype(moved.dtype)
    return moved
