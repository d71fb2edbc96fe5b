"""Tiles: blocks of images whose pairs are computed together, cut and put together again."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntkjax._kernel.algebra.boundary import materialized
from ntkjax._kernel.plan.tiling import Tiling


def cut(tiling: Tiling, first: Any, second: Any) -> Any:
    """What belongs to first and to second images, images in front, as tiles of either side."""
    grid1, grid2 = tiling.grid
    return _cut(first, grid1, tiling.size1), _cut(second, grid2, tiling.size2)


def of_tile(tiling: Tiling, parts: Any, tile: Any) -> tuple[Any, Any, Array]:
    """What belongs to the images of one tile, and which pairs are of one image with itself."""
    start1, start2 = _starts(tiling, tile)
    rows = start1 + np.arange(tiling.size1, dtype=np.int32)
    columns = start2 + np.arange(tiling.size2, dtype=np.int32)
    first, second = (
        jax.tree.map(lambda a, k=k: a[k], part) for part, k in zip(parts, tile[:2], strict=True)
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
    tiles = tiling.tiles
    if len(tiles) == 1:
        return compute(parts, tiles[0])
    tile = jax.ShapeDtypeStruct((3,), np.int32)
    made = jax.eval_shape(lambda tile: compute(parts, tuple(tile)), tile)
    total = jax.tree.map(lambda a: empty(tiling, a.shape[2:], a.dtype), made)

    def step(total: Any, tile: Array) -> tuple[Any, None]:
        return with_tile(tiling, total, compute(parts, tuple(tile)), tile), None

    return lax.scan(step, total, jnp.array(tiles, np.int32))[0]


def empty(tiling: Tiling, further: tuple[int, ...], dtype: Any, device: Any = None) -> Array:
    """An array of all pairs, with further axes, before the first tile."""
    return jnp.zeros((*tiling.shape, *further), dtype, device=device)


def exactly_symmetric(tiling: Tiling, made: Any, tile: Any) -> Any:
    """A tile (n1, n2) of a symmetric matrix, which mirrors itself where it lies on the diagonal."""
    if not tiling.symmetric:
        return made
    i, j, _ = tile
    return jax.tree.map(lambda a: jnp.where(i == j, mirrored(a, positions=True), a), made)


def with_tile(tiling: Tiling, total: Any, made: Any, tile: Any, counts: Any = None) -> Any:
    """Arrays of all pairs with one more tile in its place, and its transpose if symmetric.

    The first share of a tile takes the place of what is there, and the others are added. A tile
    that does not count (a traced boolean; None for one that does) changes nothing.
    """
    starts, share = _starts(tiling, tile), tile[2]

    def put(total: Array, made: Array, starts: tuple[Any, Any], counts: Any) -> Array:
        place = (*starts, *(np.int32(0),) * (made.ndim - 2))
        if tiling.shares > 1 or counts is not None:
            held = lax.dynamic_slice(total, place, made.shape, allow_negative_indices=False)
            made = made if tiling.shares == 1 else jnp.where(share == 0, made, held + made)
            made = made if counts is None else jnp.where(counts, made, held)
        return lax.dynamic_update_slice(total, made, place, allow_negative_indices=False)

    def with_one(total: Array, made: Array) -> Array:
        if tiling.symmetric:
            is_other = tile[0] != tile[1]
            is_other = is_other if counts is None else is_other & counts
            total = put(total, jnp.swapaxes(made, 0, 1), starts[::-1], is_other)
        return put(total, made, starts, counts)

    return jax.tree.map(with_one, total, made)


def _starts(tiling: Tiling, tile: Any) -> tuple[Any, Any]:
    """The first images of a tile, on either side."""
    sides = zip(tile[:2], tiling.shape, (tiling.size1, tiling.size2), strict=True)
    one, two = (jnp.minimum(np.int32(size) * k, np.int32(n - size)) for k, n, size in sides)
    return one, two


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
    """Cut the leading axis of all arrays into `grid` tiles, of which the last ends with them.

    A single tile is filled up with the first images: of zeros, a user's layer may make NaN.
    """

    def cut(array: Array) -> Array:
        count = array.shape[0]
        if count == grid * size:
            return array.reshape(grid, size, *array.shape[1:])
        starts = np.minimum(np.arange(grid) * size, max(count - size, 0))
        return array[(starts[:, None] + np.arange(size)) % count]

    return jax.tree.map(cut, parts)
