"""Cyclic diagonals: how a kernel between positions is stored.

Along an axis of n positions, row d holds K[p, (p + d) mod T] for p = 0 .. T - 1, where the period
T >= n. With T = n the n rows are exactly the n x n matrix. A larger period leaves dead places
(p or its partner beyond n), which are never read; it lets every layer of a strided or unpadded
stack see whole rows of the layer below. In several axes there is one displacement per axis.

A row is laid out `[position per axis ..., *lanes]`; the lanes run over images: (n1, n2) for pairs,
(n,) for each image of a batch with itself. Several rows have an axis in front.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

Rows = tuple[tuple[int, ...], ...]
Shift = tuple[int | Array, ...]


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

    @property
    def crop(self) -> tuple[slice, ...]:
        """The positions that exist, of a row."""
        return tuple(slice(size) for size in self.sizes)

    def with_rows(self, rows: Rows) -> "Diagonals":
        """Other rows of the same geometry."""
        return dataclasses.replace(self, rows=rows)

    def zero(self) -> "Diagonals":
        """Only the diagonal of equal positions."""
        return self.with_rows(((0,),) * self.ndim)

    def all(self) -> "Diagonals":
        """Every diagonal on which some pair of positions lies."""
        return self.with_rows(
            tuple(
                live_rows(size, period)
                for size, period in zip(self.sizes, self.periods, strict=True)
            )
        )

    def union(self, other: "Diagonals") -> "Diagonals":
        """The smallest product of row sets that holds both."""
        merged = (tuple(sorted({*a, *b})) for a, b in zip(self.rows, other.rows, strict=True))
        return self.with_rows(tuple(merged))

    def displacements(self) -> np.ndarray:
        """The displacement vectors held, (count, ndim), in the order in which rows are stored."""
        vectors = list(itertools.product(*self.rows))
        return np.array(vectors, int).reshape(len(vectors), self.ndim)

    @property
    def holds_zero(self) -> bool:
        """Whether the diagonal of equal positions is among them."""
        return all(0 in rows for rows in self.rows)

    def row_index(self, shift: Shift) -> int | Array:
        """Where in that order a displacement vector stands."""
        index: int | Array = 0
        for rows, period, d in zip(self.rows, self.periods, shift, strict=True):
            table = np.zeros(period, int)
            table[list(rows)] = np.arange(len(rows))
            index = index * len(rows) + (int(table[d]) if isinstance(d, int) else entry(table, d))
        return index

    def live(self, axis: int, row: int) -> np.ndarray:
        """For each position along `axis`, whether it and its partner on `row` exist."""
        inside = np.arange(self.periods[axis]) < self.sizes[axis]
        return inside & np.roll(inside, -row)


def live_rows(size: int, period: int) -> tuple[int, ...]:
    """Displacements in [0, period) that some pair of `size` positions has."""
    return tuple(d for d in range(period) if d < size or period - d < size)


def entry(table: np.ndarray | Array, index: int | Array) -> Any:
    """The entry of a table at an index (or at some of them) of a loop, which is never negative."""
    if isinstance(index, int):
        return table[index]
    return jnp.asarray(table).at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def largest_divisor(size: int, most: int) -> int:
    """The largest divisor of `size` that is at most `most`."""
    return max(d for d in range(1, min(size, most) + 1) if size % d == 0)


def along(values: np.ndarray | Array, ndim: int, axis: int) -> np.ndarray | Array:
    """Reshape a vector so that it lies along `axis` of an `ndim`-dimensional array."""
    shape = [1] * ndim
    shape[axis] = -1
    return values.reshape(shape)


def rings(array: Array, starts: Shift, lengths: Sequence[int], axis: int = 0) -> Array:
    """Entries from `starts` on, along axes from `axis` on whose first entry follows their last."""
    offsets: list[int | Array] = [0] * array.ndim
    sizes = list(array.shape)
    for k, (start, length) in enumerate(zip(starts, lengths, strict=True), axis):
        shape, period = array.shape, array.shape[k]
        first, last = (start, start) if isinstance(start, int) else (0, period - 1)
        copies = -(-(last + length) // period)
        if copies > 1:
            # Not concatenated, which XLA on CPU compiles to one long loop for each operand.
            array = jnp.broadcast_to(
                jnp.expand_dims(array, k), (*shape[:k], copies, *shape[k:])
            ).reshape(*shape[:k], copies * period, *shape[k + 1 :])
        array = lax.slice_in_dim(array, first, last + length, axis=k)
        offsets[k], sizes[k] = (0 if isinstance(start, int) else start), length
    if all(isinstance(start, int) for start in starts):
        return array
    return lax.dynamic_slice(array, offsets, sizes, allow_negative_indices=False)


def shifted(image_map: Array, shift: Shift) -> Array:
    """A map as seen from the partner: entry p is the map at p + shift, cyclically."""
    return rings(image_map, shift, image_map.shape[: len(shift)])


def to_matrix(rows: Array, diagonals: Diagonals) -> Array:
    """All rows -> interleaved matrix: [row, positions, *lanes] -> [*lanes, p1, q1, p2, q2, ...]."""
    ndim = diagonals.ndim
    array = rows.reshape(tuple(map(len, diagonals.rows)) + rows.shape[1:])
    for axis in range(ndim):
        size, period = diagonals.sizes[axis], diagonals.periods[axis]
        p, q = np.indices((size, size))
        index = {row: i for i, row in enumerate(diagonals.rows[axis])}
        row = np.vectorize(index.__getitem__, otypes=[int])((q - p) % period)
        # The axes before this one have moved to the end already, as pairs (p, q).
        rows_first = jnp.moveaxis(array, (0, ndim - axis), (0, 1))
        array = jnp.moveaxis(rows_first[row, p], (0, 1), (-2, -1))
    return array


def from_matrix(matrix: Array, diagonals: Diagonals) -> Array:
    """Interleaved matrix -> rows: [*lanes, p1, q1, p2, q2, ...] -> [row, positions, *lanes].

    Places that are no pair of positions hold arbitrary values.
    """
    ndim = diagonals.ndim
    lanes = matrix.ndim - 2 * ndim
    index = []
    for axis, (size, period) in enumerate(zip(diagonals.sizes, diagonals.periods, strict=True)):
        p = np.arange(period)[None, :]
        q = (p + np.array(diagonals.rows[axis])[:, None]) % period
        inside = (p < size) & (q < size)
        for position in (np.where(inside, p, 0), np.where(inside, q, 0)):
            shape = [1] * (2 * ndim)
            shape[axis], shape[ndim + axis] = position.shape
            index.append(position.reshape(shape))
    # All advanced indices adjoin, so the indexed axes stay where they are: after the lanes.
    array = matrix[(slice(None),) * lanes + tuple(index)] if ndim else matrix
    array = jnp.moveaxis(array, range(lanes), range(array.ndim - lanes, array.ndim))
    return array.reshape(diagonals.count, *diagonals.periods, *array.shape[2 * ndim :])


def rows_shape(diagonals: Diagonals, lanes: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of all rows that are held."""
    return (diagonals.count, *diagonals.periods, *lanes)


def put(
    total: Array, row: Array, shift: Shift, lanes: tuple[Any, ...], diagonals: Diagonals
) -> Array:
    """All rows with one more in its place; `lanes` is where its images start."""
    at = (diagonals.row_index(shift), *(0,) * diagonals.ndim, *lanes)
    return lax.dynamic_update_slice(total, row[None], at, allow_negative_indices=False)
