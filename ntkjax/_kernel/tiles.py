"""Tiles: blocks of images whose pairs are computed together, so that memory stays bounded."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

#: Numbers in one array of a block of pairs on one diagonal: a few such arrays stay in the cache,
#: and each operation on one is enough work to share among the cores.
BLOCK = 2**18
#: Second images taken at a time, where there are positions: the vector lanes of a block.
LANES = 64
#: The same where there are none.
WIDE_LANES = 1024
#: Bytes that the rows of one tile may take.
TILE_BYTES = 2**27


@dataclasses.dataclass(frozen=True)
class Tiling:
    """How many images of each batch make a tile, and how many first images a block within it.

    The last tiles are filled up, so that a tile may be larger than its batch.
    """

    count1: int
    count2: int
    size1: int
    size2: int
    block: int


def choose_tiling(
    count1: int, count2: int, positions: int, numbers: int, itemsize: int, symmetric: bool
) -> Tiling:
    """A tiling for pairs that keep `numbers` numbers each, at most `positions` on one diagonal."""
    lanes = LANES if positions > 1 else WIDE_LANES
    size2 = min(count2, lanes)
    fits = max(TILE_BYTES // (itemsize * numbers * size2), 1)
    size1 = min(count1, fits)
    if symmetric:
        size1 = size2 = min(size1, size2)
    # Whole blocks, as equal as can be.
    block = min(max(BLOCK // (positions * size2), 1), size1)
    blocks = min(-(-size1 // block), max(fits // block, 1))
    block = -(-min(size1, blocks * block) // blocks)
    size1 = blocks * block
    return Tiling(count1, count2, size1, size1 if symmetric else size2, block)


Tile = Callable[[Any, Any, Array], Any]


def over_tiles(tiling: Tiling, compute: Tile, first: Any, second: Any, symmetric: bool) -> Any:
    """`compute` on all pairs of images, tile by tile.

    Args:
      tiling: the sizes of the tiles.
      compute: from the first images' arrays, the second's, and which pairs are the same image, to
        arrays (n1, n2, ...).
      first: what belongs to first images, images in front.
      second: what belongs to second images, images in front.
      symmetric: whether the images are the same and the result, which then has no further axes,
        symmetric: each unordered pair of tiles is computed once.
    """
    size1, size2 = tiling.size1, tiling.size2
    grid1, grid2 = -(-tiling.count1 // size1), -(-tiling.count2 // size2)
    first, second = _cut(first, grid1, size1), _cut(second, grid2, size2)
    tiles = [(i, j) for i in range(grid1) for j in range(grid2) if not symmetric or i <= j]

    def one(tile: Any) -> Any:
        i, j = tile
        rows, columns = i * size1 + np.arange(size1), j * size2 + np.arange(size2)
        take = lambda parts, k: jax.tree.map(lambda a: a[k], parts)  # noqa: E731
        return compute(take(first, i), take(second, j), rows[:, None] == columns[None, :])

    made = lax.map(one, jnp.array(tiles)) if len(tiles) > 1 else _single(one, tiles[0])

    def join(array: Array) -> Array:
        full = jnp.zeros((grid1, grid2, *array.shape[1:]), array.dtype)
        i, j = np.array(tiles).T
        if symmetric:
            full = full.at[j, i].set(jnp.swapaxes(array, 1, 2))
        full = jnp.swapaxes(full.at[i, j].set(array), 1, 2)
        full = full.reshape(grid1 * size1, grid2 * size2, *array.shape[3:])
        return full[: tiling.count1, : tiling.count2]

    return jax.tree.map(join, made)


def _single(one: Callable[[Any], Any], tile: tuple[int, int]) -> Any:
    """The only tile, without a loop, stacked as if there were more."""
    return jax.tree.map(lambda a: a[None], one(tile))


def _cut(parts: Any, grid: int, size: int) -> Any:
    """Cut the leading axis of all arrays into `grid` tiles, the last one filled up with zeros."""

    def cut(array: Array) -> Array:
        missing = grid * size - array.shape[0]
        pad = [(0, missing)] + [(0, 0)] * (array.ndim - 1)
        return jnp.pad(array, pad).reshape(grid, size, *array.shape[1:])

    return jax.tree.map(cut, parts)
