"""Tiles: blocks of images whose pairs are computed together, cut and put together again."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh, PartitionSpec

from ntkjax._kernel.algebra.state import added_at
from ntkjax._kernel.plan.tiling import Tiling


def cut(tiling: Tiling, first: Any, second: Any) -> Any:
    """What belongs to first and to second images, images in front, as tiles of either side."""
    grid1, grid2 = tiling.grid
    return _cut(first, grid1, tiling.size1), _cut(second, grid2, tiling.size2)


def of_tile(tiling: Tiling, parts: Any, tile: Any) -> tuple[Any, Any, Array]:
    """What belongs to the images of one tile, and which pairs are of one image with itself."""
    i, j, _ = tile
    size1, size2 = tiling.size1, tiling.size2
    rows, columns = i * size1 + np.arange(size1), j * size2 + np.arange(size2)
    first, second = (
        jax.tree.map(lambda a, k=k: a[k], part) for part, k in zip(parts, (i, j), strict=True)
    )
    return first, second, rows[:, None] == columns[None, :]


def over_tiles(
    tiling: Tiling, compute: Callable[[Any, Any], Any], parts: Any, devices: Sequence[Any]
) -> Any:
    """`compute` on all tiles, within one program, put together.

    Args:
      tiling: the sizes of the tiles. Where it is symmetric, so is the result, which then has no
        further axes.
      compute: from `parts` and the place of a tile, to arrays (n1, n2, ...).
      parts: what belongs to images, as `cut`.
      devices: which share the tiles.
    """
    (grid1, grid2), tiles = tiling.grid, tiling.tiles

    def some(parts: Any, tiles: Array) -> Any:
        return lax.map(lambda tile: compute(parts, tile), tiles)

    if len(tiles) == 1:
        made = jax.tree.map(lambda a: a[None], compute(parts, tiles[0]))
    elif len(devices) == 1:
        made = some(parts, jnp.array(tiles))
    else:
        made = _shared(some, parts, tiles, devices)

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


def with_tile(tiling: Tiling, total: Any, made: Any, tile: Any) -> Any:
    """Arrays of all pairs with one more tile in its place, and its transpose if symmetric."""
    i, j, _ = tile
    size1, size2 = tiling.size1, tiling.size2

    def add(total: Array, made: Array) -> Array:
        further = (0,) * (made.ndim - 2)
        if tiling.symmetric:
            mirrored = jnp.where(i == j, 0.0, jnp.swapaxes(made, 0, 1))
            total = added_at(total, mirrored, (j * size2, i * size1, *further))
        return added_at(total, made, (i * size1, j * size2, *further))

    return jax.tree.map(add, total, made)


def _shared(
    some: Callable[[Any, Array], Any],
    parts: Any,
    tiles: list[tuple[int, int, int]],
    devices: Sequence[Any],
) -> Any:
    """The tiles, dealt to the devices; a tile that is left over is made more than once."""
    mesh = Mesh(np.array(devices), ("tiles",))
    each = math.ceil(len(tiles) / len(devices))
    dealt = np.resize(np.array(tiles), (each * len(devices), 3))
    spec = PartitionSpec("tiles")
    share = jax.shard_map(
        some, mesh=mesh, in_specs=(PartitionSpec(), spec), out_specs=spec, check_vma=False
    )
    return jax.tree.map(lambda a: a[: len(tiles)], share(parts, jnp.asarray(dealt)))


def _cut(parts: Any, grid: int, size: int) -> Any:
    """Cut the leading axis of all arrays into `grid` tiles, the last one filled up with zeros."""

    def cut(array: Array) -> Array:
        missing = grid * size - array.shape[0]
        pad = [(0, missing)] + [(0, 0)] * (array.ndim - 1)
        return jnp.pad(array, pad).reshape(grid, size, *array.shape[1:])

    return jax.tree.map(cut, parts)
