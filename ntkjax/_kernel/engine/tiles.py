"""Tiles: blocks of images whose pairs are computed together, cut and put together again."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntkjax._kernel.algebra.boundary import materialized
from ntkjax._kernel.algebra.pairs import added_at
from ntkjax._kernel.plan.tiling import Tiling


def cut(tiling: Tiling, first: Any, second: Any) -> Any:
    """What belongs to first and to second images, images in front, as tiles of either side."""
    grid1, grid2 = tiling.grid
    return _cut(first, grid1, tiling.size1), _cut(second, grid2, tiling.size2)


def of_tile(tiling: Tiling, parts: Any, tile: Any) -> tuple[Any, Any, Array]:
    """What belongs to the images of one tile, and which pairs are of one image with itself."""
    i, j, _ = tile
    size1, size2 = tiling.size1, tiling.size2
    rows = i * size1 + np.arange(size1, dtype=np.int32)
    columns = j * size2 + np.arange(size2, dtype=np.int32)
    first, second = (
        jax.tree.map(lambda a, k=k: a[k], part) for part, k in zip(parts, (i, j), strict=True)
    )
    return first, second, rows[:, None] == columns[None, :]


def over_tiles(tiling: Tiling, compute: Callable[[Any, Any], Any], parts: Any) -> Any:
    """`compute` on all tiles, within one program, put together.

    Args:
      tiling: the sizes of the tiles. Where it is symmetric, so is the result, which then has no
        further axes.
      compute: from `parts` and the place of a tile, to arrays (n1, n2, ...).
      parts: what belongs to images, as `cut`.
    """
    (grid1, grid2), tiles = tiling.grid, tiling.tiles
    if len(tiles) == 1:
        made = jax.tree.map(lambda a: a[None], compute(parts, tiles[0]))
    else:
        made = lax.map(lambda tile: compute(parts, tile), jnp.array(tiles, np.int32))

    def join(array: Array) -> Array:
        if tiling.symmetric:
            i, j, _ = np.array(tiles).T
            full = jnp.zeros((grid1, grid2, *array.shape[1:]), array.dtype)
            full = full.at[j, i].set(jnp.swapaxes(array, 1, 2)).at[i, j].set(array)
        else:
            full = array.reshape(grid1, grid2, *array.shape[1:])
        full = jnp.swapaxes(full, 1, 2)
        return full.reshape(grid1 * tiling.size1, grid2 * tiling.size2, *array.shape[3:])

    return jax.tree.map(join, made)


def exactly_symmetric(tiling: Tiling, made: Any, tile: Any) -> Any:
    """A tile (n1, n2) of a symmetric matrix, which mirrors itself where it lies on the diagonal."""
    if not tiling.symmetric:
        return made
    i, j, _ = tile
    return jax.tree.map(lambda a: jnp.where(i == j, mirrored(a, positions=True), a), made)


def with_tile(tiling: Tiling, total: Any, made: Any, tile: Any) -> Any:
    """Arrays of all pairs with one more tile in its place, and its transpose if symmetric."""
    i, j, _ = tile
    size1, size2 = tiling.size1, tiling.size2

    def add(total: Array, made: Array) -> Array:
        further = (np.int32(0),) * (made.ndim - 2)
        if tiling.symmetric:
            mirrored = jnp.where(i == j, 0.0, jnp.swapaxes(made, 0, 1))
            total = added_at(total, mirrored, (j * size2, i * size1, *further))
        return added_at(total, made, (i * size1, j * size2, *further))

    return jax.tree.map(add, total, made)


def mirrored(matrix: Array, *, positions: bool) -> Array:
    """A kernel (n, n, ...) of a batch with itself, whose lower half mirrors the upper one.

    With `positions`, of interleaved axes (n, n, h, h, w, w, ...), the images and the positions of
    an entry go to the other side together; without, further axes are positions of both.
    """
    pairs = (matrix.ndim - 2) // 2 if positions else 0
    order = [1, 0, *range(2, matrix.ndim)]
    for k in range(pairs):
        order[2 + 2 * k], order[3 + 2 * k] = 3 + 2 * k, 2 + 2 * k
    # In the order of images, then of the positions of one image.
    is_lower, is_equal = jnp.asarray(False), jnp.asarray(True)
    for k in range(1 + pairs):
        shape = [n if axis // 2 == k else 1 for axis, n in enumerate(matrix.shape)]
        lower, equal = (mask.reshape(shape) for mask in _ordered(matrix.shape[2 * k]))
        is_lower, is_equal = is_lower | (is_equal & lower), is_equal & equal
    return jnp.where(is_lower, jnp.transpose(matrix, order), matrix)


def _ordered(count: int) -> tuple[Array, Array]:
    """Where the first of two numbers below `count` is larger, and where they are equal.

    Stored: of numbers that are made within the transpose of a matrix, XLA on CPU makes programs
    that take minutes to compile.
    """

    def compared(numbers: Array) -> tuple[Array, Array]:
        left, right = numbers[:, None], numbers[None]
        return left > right, left == right

    return materialized(compared, jnp.arange(count))


def _cut(parts: Any, grid: int, size: int) -> Any:
    """Cut the leading axis of all arrays into `grid` tiles, the last one filled up."""

    def cut(array: Array) -> Array:
        # With images of the batch: of zeros, a user's layer may make NaN.
        which = np.arange(grid * size) % array.shape[0]
        filled = array if len(which) == array.shape[0] else array[which]
        return filled.reshape(grid, size, *array.shape[1:])

    return jax.tree.map(cut, parts)
