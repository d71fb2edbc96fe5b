"""Operations that mix diagonals by a band of weights along each axis: pools, changes of period.

With one weight per output position and tap on either side, K'[P, Q] = sum_ij a_Pi a_Qj K[p_i, q_j]
=: M[K] (Arora et al. 2019, section 4.2): all pairs of positions, not equal ones. Along one axis,
input row e adds to a few output rows; to row D, at position P, the sum over taps i of
weight[D, i, P] times the entry at p_i. A table lists them for every input row.

In distances, M[D] becomes a distance with what belongs to single images (see `Mixture`).
"""

import dataclasses
import functools
import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.algebra.boundary import materialized
from ntkjax._kernel.algebra.diagonals import Diagonals, Rows, Shift, along, entry
from ntkjax._kernel.algebra.lanes import member_of
from ntkjax._kernel.algebra.operation import operation, static
from ntkjax._kernel.algebra.pairs import added_at
from ntkjax._kernel.algebra.sides import ringed
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.algebra.window import Window, infer_windows
from ntkjax._kernel.operations.linear import LinearCollector
from ntkjax._kernel.operations.windowed import Windowed


@dataclasses.dataclass(frozen=True)
class Band:
    """What groups of input rows along one axis add to output rows.

    Attributes:
      rows: output rows (their indices among those held) to which the group that starts at an input
        row adds: (input row, place).
      weights: of every tap of a member of the group, at each output position: (input row, place,
        member, tap, period).
      terms: for every place, the members and taps which have a weight in some group.
    """

    rows: np.ndarray
    weights: np.ndarray
    terms: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def members(self) -> int:
        """Rows in a group."""
        return self.weights.shape[2]


class BandedMap(LinearCollector):
    """Base of operations in which every output position has a few weighted taps along each axis."""

    def tap_weights(self, axis: int, below: Diagonals, here: Diagonals) -> np.ndarray:
        """a_Pi: weights of single positions, zero outside the image: (tap, period)."""
        raise NotImplementedError

    def tap_positions(self, axis: int, below: Diagonals, here: Diagonals) -> np.ndarray:
        """p_i: the input position of every tap, up to a multiple of the period: (tap, period)."""
        raise NotImplementedError

    def entries(
        self, array: Array, axis: int, tap: int, below: Diagonals, here: Diagonals
    ) -> Array:
        """The entries of a row at the positions of one tap along an axis."""
        raise NotImplementedError

    def row_near(self, axis: int, row: int, below: Diagonals, here: Diagonals) -> int:
        """The output row to which an input row adds most, roughly."""
        raise NotImplementedError

    def group(self, axis: int, count: int, here: Diagonals) -> int:
        """How many of `count` neighbouring input rows along an axis to make together."""
        del axis, count, here
        return 1

    def contributions(self, axis: int, below: Diagonals, here: Diagonals, row: int) -> dict:
        """{input row: weights (tap, period)} that make up the output row `row` along an axis.

        Where the period of the input divides stride * (period of the output), a pair of taps of a
        window reads one input row; else another one beyond the place where the partner starts anew.
        """
        own, at = (of(axis, below, here) for of in (self.tap_weights, self.tap_positions))
        partner = (np.arange(here.periods[axis]) + row) % here.periods[axis]
        result: dict[int, np.ndarray] = {}
        for i, j in itertools.product(range(len(own)), repeat=2):
            source = (at[j][partner] - at[i]) % below.periods[axis]
            product = own[i] * own[j][partner]
            for e in np.unique(source[product != 0]):
                weights = result.setdefault(int(e), np.zeros_like(own))
                weights[i] += np.where(source == e, product, 0.0)
        # A row of dead places still is a sum, of nothing.
        return result or {0: np.zeros_like(own)}

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

    def groups(self, rows: Diagonals, here: Diagonals, images: int) -> tuple[int, ...]:
        return tuple(self.group(axis, len(held), here) for axis, held in enumerate(rows.rows))

    def band(self, axis: int, below: Diagonals, here: Diagonals) -> Band:
        """The table of an axis, over the input rows that the output rows demand."""
        table: dict[int, dict[int, np.ndarray]] = {}
        for index, row in enumerate(here.rows[axis]):
            for e, weights in self.contributions(axis, below, here, row).items():
                table.setdefault(e, {})[index] = weights
        taps, period = self.tap_weights(axis, below, here).shape
        demanded = sorted(table)
        size = self.group(axis, len(demanded), here)
        groups = [demanded[k : k + size] for k in range(0, len(demanded), size)]
        # In the order of their distance, so that a place means the same in every group.
        row_near = lambda e: self.row_near(axis, e, below, here)  # noqa: E731
        near = lambda e: lambda i: (here.rows[axis][i] - row_near(e)) % period  # noqa: E731
        places = [sorted({i for e in g for i in table[e]}, key=near(g[0])) for g in groups]
        width = max(map(len, places))
        rows = np.zeros((below.periods[axis], width), int)
        weights = np.zeros((below.periods[axis], width, size, taps, period))
        for members, held in zip(groups, places, strict=True):
            # Places left over add nothing to whichever row.
            rows[members[0], : len(held)] = held
            for m, e in enumerate(members):
                for i, of_taps in table[e].items():
                    weights[members[0], held.index(i), m] = of_taps
        used = np.any(weights != 0, axis=(0, 4))
        terms = tuple(tuple((int(m), int(i)) for m, i in np.argwhere(of)) for of in used)
        return Band(rows, weights, terms)

    def start(self, below: Diagonals, here: Diagonals, lanes: tuple[int, ...]) -> tuple[int, ...]:
        return (*map(len, here.rows), *here.periods, *lanes)

    def finish(self, total: Array, below: Diagonals) -> Array:
        return total.reshape(-1, *total.shape[below.ndim :])

    def add(
        self,
        total: Array,
        rows: Array,
        shift: Shift,
        lanes: tuple[Any, ...],
        below: Diagonals,
        here: Diagonals,
    ) -> Array:
        bands = [self.band(axis, below, here) for axis in range(below.ndim)]
        members = math.prod(band.members for band in bands)
        first = [jnp.asarray(d)[0] if members > 1 else d for d in shift]
        # Stored, so that XLA compiles one program that reads, or writes, at any place.
        held_at = materialized(
            lambda first: [
                [entry(rows, d) for rows in band.rows.T]
                for band, d in zip(bands, first, strict=True)
            ],
            first,
        )
        weights = [
            entry(band.weights.astype(rows.dtype), d) for band, d in zip(bands, first, strict=True)
        ]
        used = ([k for k, terms in enumerate(band.terms) if terms] for band in bands)
        parts = list(itertools.product(*used))
        places = [
            (*(held_at[axis][k] for axis, k in enumerate(part)), *(0,) * below.ndim, *lanes)
            for part in parts
        ]
        of_lanes = *rows.shape[below.ndim : -1], rows.shape[-1] // members
        shape = (*(1,) * below.ndim, *here.periods, *of_lanes)

        def mixed(operands: Any) -> list[Array]:
            rows, weights = operands
            return [
                self._mixed(rows, bands, weights, part, below, here).reshape(shape)
                for part in parts
            ]

        for more, place in zip(materialized(mixed, (rows, weights)), places, strict=True):
            total = added_at(total, more, place)
        return total

    def _mixed(
        self,
        rows: Array,
        bands: Sequence[Band],
        weights: Sequence[Array],
        part: Sequence[int],
        below: Diagonals,
        here: Diagonals,
        member: int = 0,
        axis: int = 0,
    ) -> Array:
        """Weighted sum over members and taps, axis by axis, for one place in each band."""
        if axis == below.ndim:
            return member_of(rows, member, math.prod(band.members for band in bands))
        band, k = bands[axis], part[axis]
        total: Any = None
        for m, tap in band.terms[k]:
            entries = self.entries(rows, axis, tap, below, here)
            index = member * band.members + m
            entries = self._mixed(entries, bands, weights, part, below, here, index, axis + 1)
            entries = entries * along(weights[axis][k, m, tap], entries.ndim, axis)
            total = entries if total is None else total + entries
        return total

    def _summed(
        self, row: Array, weights: Sequence[Array], below: Diagonals, here: Diagonals
    ) -> Array:
        """Weighted sum over taps of the entries at their positions, axis by axis."""
        for axis, of_taps in enumerate(weights):
            at_taps = (self.entries(row, axis, i, below, here) for i in range(len(of_taps)))
            terms = (s * along(w, s.ndim, axis) for s, w in zip(at_taps, of_taps, strict=True))
            row = functools.reduce(operator.add, terms)
        return row

    def positions(self, image_map: Array, below: Diagonals, here: Diagonals) -> Array:
        image_map = ringed(image_map, below.periods, self.halo(below, here))
        weights = [
            jnp.asarray(self.tap_weights(axis, below, here), image_map.dtype)
            for axis in range(below.ndim)
        ]
        return self._summed(image_map, weights, below, here)

    def mass(self, below: Diagonals, here: Diagonals) -> np.ndarray:
        """A_P, the sum of the weights of each output position."""
        sums = (
            along(self.tap_weights(axis, below, here).sum(0), below.ndim, axis)
            for axis in range(below.ndim)
        )
        return functools.reduce(np.multiply, sums, np.ones((1,) * below.ndim))


class WindowMap(Windowed, BandedMap):
    """Base of operations given by a window and a band of weights for each axis."""

    def tap_positions(self, axis: int, below: Diagonals, here: Diagonals) -> np.ndarray:
        window, outputs = self.windows[axis], np.arange(here.periods[axis])
        first = window.stride * outputs - window.before(below.sizes[axis])
        return first + window.dilation * np.arange(window.taps)[:, None]

    def entries(
        self, array: Array, axis: int, tap: int, below: Diagonals, here: Diagonals
    ) -> Array:
        size, period = below.sizes[axis], here.periods[axis]
        return self.windows[axis].slide(array, axis, tap, size, period)

    def row_near(self, axis: int, row: int, below: Diagonals, here: Diagonals) -> int:
        return row // self.windows[axis].stride

    def group(self, axis: int, count: int, here: Diagonals) -> int:
        """Two rows where an output position has an even number of its own.

        What they add is read and written at once; and of two rows it is known which is even.
        """
        stride, few = self.windows[axis].stride, here.ndim - axis <= 2
        return 2 if few and here.count > 1 and stride % 2 == 0 and count % 2 == 0 else 1


@operation
class WindowPool(WindowMap):
    """Sum over one window per spatial axis, or its mean.

    `normalize` is how an output is divided: `none` (a sum), `window` (by the number of taps) or
    `inside` (by the number of taps that lie inside the image).
    """

    windows: tuple[Window, ...] = static()
    normalize: str = static()

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        return infer_windows(self.windows, signals[0])

    @property
    def keeps_periods(self) -> bool:
        return self.is_ring

    def tap_weights(self, axis: int, below: Diagonals, here: Diagonals) -> np.ndarray:
        window, size = self.windows[axis], below.sizes[axis]
        inside = np.stack(window.inside(size, here.periods[axis])).astype(float)
        if self.normalize == "none":
            return inside
        if self.normalize == "window":
            return inside / window.taps
        return inside / np.maximum(inside.sum(0), 1)


@operation
class Reperiod(WindowMap):
    """The same kernel on diagonals of another period: a pool of single positions.

    Branches whose strides disagree, or a ring after an unpadded convolution, want their rows cut
    differently.
    """

    windows: tuple[Window, ...] = static()

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        return signals[0]

    def tap_weights(self, axis: int, below: Diagonals, here: Diagonals) -> np.ndarray:
        return (np.arange(here.periods[axis]) < here.sizes[axis]).astype(float)[None]
