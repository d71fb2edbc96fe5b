"""Cyclic diagonals: how a kernel between positions is stored.

Along an axis of n positions, row d holds K[p, (p + d) mod T] for p = 0 .. T - 1, where the period
T >= n. With T = n the n rows are exactly the n x n matrix. A larger period leaves dead places
(p or its partner beyond n), which are never read; it lets every layer of a strided or unpadded
stack see whole rows of the layer below. In several axes there is one row index per axis.

Arrays are laid out `[row per axis ..., position per axis ..., *lanes]`; the lanes run over images:
(n1, n2) for pairs, (n,) for the images of one batch.
"""

import dataclasses
import itertools
import math

import jax.numpy as jnp
import numpy as np
from jax import Array

Rows = tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class Diagonals:
    """Which cyclic diagonals are held, axis by axis.

    Attributes:
      sizes: positions along each axis.
      periods: the period of the diagonals along each axis, at least the size.
      rows: the displacements held along each axis, ascending, each in [0, period).
    """

    sizes: tuple[int, ...]
    periods: tuple[int, ...]
    rows: Rows

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.sizes)

    @property
    def count(self) -> int:
        """Number of diagonals held."""
        return math.prod(map(len, self.rows))

    def with_rows(self, rows: Rows) -> "Diagonals":
        """Other rows of the same geometry."""
        return dataclasses.replace(self, rows=rows)

    def zero(self) -> "Diagonals":
        """Only the diagonal of equal positions."""
        return self.with_rows(((0,),) * self.ndim)

    def all(self) -> "Diagonals":
        """Every diagonal on which some pair of positions lies."""
        return self.with_rows(
            tuple(live_rows(size, period) for size, period in zip(self.sizes, self.periods))
        )

    def union(self, other: "Diagonals") -> "Diagonals":
        """The smallest product of row sets that holds both."""
        merged = (tuple(sorted({*a, *b})) for a, b in zip(self.rows, other.rows, strict=True))
        return self.with_rows(tuple(merged))

    def partners(self, axis: int) -> np.ndarray:
        """For each row and position along `axis`, the partner's position: (rows, period)."""
        period = self.periods[axis]
        return (np.arange(period)[None, :] + np.array(self.rows[axis])[:, None]) % period

    def live(self, axis: int) -> np.ndarray:
        """Whether a position and its partner both exist: (rows, period)."""
        inside = np.arange(self.periods[axis]) < self.sizes[axis]
        return inside[None, :] & (self.partners(axis) < self.sizes[axis])


def live_rows(size: int, period: int) -> tuple[int, ...]:
    """Displacements in [0, period) that some pair of `size` positions has."""
    return tuple(d for d in range(period) if d < size or period - d < size)


def along(values: np.ndarray, ndim: int, *axes: int) -> np.ndarray:
    """Reshape so that the axes of `values` lie at `axes` of an `ndim`-dimensional array."""
    shape = [1] * ndim
    for axis, size in zip(axes, values.shape, strict=True):
        shape[axis] = size
    return values.reshape(shape)


def take_rows(array: Array, axis: int, have: tuple[int, ...], want: np.ndarray) -> Array:
    """Rows `want` along `axis` of an array which holds the rows `have`."""
    index = {row: i for i, row in enumerate(have)}
    chosen = [index[int(row)] for row in want]
    if chosen == list(range(len(have))):
        return array
    return jnp.take(array, np.array(chosen), axis=axis)


def to_matrix(array: Array, diagonals: Diagonals) -> Array:
    """All rows -> interleaved matrix: [rows, positions, *lanes] -> [*lanes, p1, q1, p2, q2, ...]."""
    for axis in range(diagonals.ndim):
        size, period = diagonals.sizes[axis], diagonals.periods[axis]
        p, q = np.indices((size, size))
        index = {row: i for i, row in enumerate(diagonals.rows[axis])}
        row = np.vectorize(index.__getitem__, otypes=[int])((q - p) % period)
        # The axes before this one have moved to the end already, as pairs (p, q).
        rows_first = jnp.moveaxis(array, (0, diagonals.ndim - axis), (0, 1))
        array = jnp.moveaxis(rows_first[row, p], (0, 1), (-2, -1))
    return array


def from_matrix(matrix: Array, diagonals: Diagonals) -> Array:
    """Interleaved matrix -> rows: [*lanes, p1, q1, p2, q2, ...] -> [rows, positions, *lanes]."""
    ndim = diagonals.ndim
    lanes = matrix.ndim - 2 * ndim
    index = []
    for axis in range(ndim):
        live = diagonals.live(axis)
        p = np.where(live, np.arange(diagonals.periods[axis])[None, :], 0)
        q = np.where(live, diagonals.partners(axis), 0)
        index += [along(i, 2 * ndim, axis, ndim + axis) for i in (p, q)]
    # All advanced indices adjoin, so the indexed axes stay where they are: after the lanes.
    array = matrix[(slice(None),) * lanes + tuple(index)] if ndim else matrix
    return jnp.moveaxis(array, range(lanes), range(array.ndim - lanes, array.ndim))


def displacements(diagonals: Diagonals) -> list[tuple[int, ...]]:
    """The displacement vectors held, one per diagonal."""
    return list(itertools.product(*diagonals.rows))
