"""Tiles: blocks of images whose pairs are computed together, so that memory stays bounded."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh, PartitionSpec

from ntkjax._kernel.config import Resources
from ntkjax._kernel.lanes import VECTOR, filled
from ntkjax._kernel.state import added_at

#: Numbers in one array of a block of pairs on one diagonal, for each core that shares it: a few
#: such arrays stay in the cache of the core, and each operation on one is enough work.
BLOCK, WIDE_BLOCK = 2**17, 2**18
#: Images on a side of a tile: the second ones are vector lanes. Wide is where there are no
#: positions.
SIDE, WIDE_SIDE = 32, 2048
#: What belongs to an image costs as much as so many pairs.
IMAGE = 2


@dataclasses.dataclass(frozen=True)
class Need:
    """Memory and work of a plan.

    Attributes:
      positions: most positions on one diagonal.
      pair: bytes kept for each pair of images.
      image: bytes kept for each image.
      members: most diagonals made together.
    """

    positions: int
    pair: int
    image: int
    members: int = 1

    def bytes(self, first: int, second: int) -> int:
        """Of a tile of so many first and second images."""
        return self.pair * first * second + self.image * (first + second)


@dataclasses.dataclass(frozen=True)
class Tiling:
    """How many images of each batch make a tile, and how many first images a block within it.

    The last tiles are filled up, so that a tile may be larger than its batch.

    Attributes:
      count1: first images.
      count2: second images.
      size1: first images in a tile.
      size2: second images in a tile.
      block: first images in a block, where positions are most.
      most: numbers in one array of a block.
      symmetric: whether both batches are the same.
      shares: of how many tiles, each of a part of the diagonals, the same pairs are the sum.
      members: most diagonals made together.
    """

    count1: int
    count2: int
    size1: int
    size2: int
    block: int
    most: int
    symmetric: bool
    shares: int = 1
    members: int = 1

    @property
    def is_wide(self) -> bool:
        """Whether its lanes fill vectors of 512 bits."""
        return self.size2 * self.members >= VECTOR

    @property
    def grid(self) -> tuple[int, int]:
        """How many tiles there are along each side."""
        return -(-self.count1 // self.size1), -(-self.count2 // self.size2)

    @property
    def tiles(self) -> list[tuple[int, int, int]]:
        """Rows, columns and shares to compute: of a symmetric matrix, each unordered pair once."""
        places = itertools.product(*map(range, (*self.grid, self.shares)))
        return [(i, j, share) for i, j, share in places if not self.symmetric or i <= j]


def choose_tiling(
    count1: int, count2: int, need: Need, symmetric: bool, resources: Resources, shares: int = 1
) -> Tiling:
    """The largest useful tiles within the budget, as many for each worker as for another.

    `shares` is in how many parts the diagonals may be made apart.
    """
    most = resources.cores * (BLOCK if need.positions > 1 else WIDE_BLOCK)
    side = SIDE if need.positions > 1 else WIDE_SIDE
    # Of a symmetric matrix, smaller tiles leave less of the other half to compute.
    side = side // 2 if symmetric else side
    # Diagonals made together are vector lanes as well, so that fewer second images suffice.
    side2 = side if symmetric or need.members == 1 else max(side // (2 * need.members), 8)
    fill = filled if need.positions > 1 else lambda count: count
    size1, size2 = min(count1, side), min(fill(count2), side2)
    if symmetric:
        size1 = size2
    elif count2 > side:
        size1 = min(count1, 4 * side)  # what belongs to second images serves more first ones
    while need.bytes(size1, size2) > resources.budget and size1 * size2 > 1:
        if size1 >= size2 or symmetric:
            size1 = -(-size1 // 2)
        if size1 < size2 or symmetric:
            size2 = -(-size2 // 2)
    if need.positions > 1:
        size1, size2, shares = _shared_evenly(
            count1, count2, size1, size2, symmetric, resources.workers, shares
        )
    # As equal as can be, of full vectors, and whole blocks.
    if not symmetric or need.positions == 1:
        size1 = -(-count1 // -(-count1 // size1))
        size2 = min(fill(-(-count2 // -(-count2 // size2))), size2)
    blocks = -(-size1 // max(most // (need.positions * size2), 1))
    block = -(-size1 // blocks)
    if symmetric:
        block = largest_divisor(size1, block)
    else:
        size1 = block * blocks
    return Tiling(count1, count2, size1, size2, block, most, symmetric, shares)


def _shared_evenly(
    count1: int, count2: int, size1: int, size2: int, symmetric: bool, workers: int, shares: int
) -> tuple[int, int, int]:
    """Sizes of tiles, no larger than these, and shares, so that the last worker is done soonest."""

    def sizes(grid1: int) -> tuple[int, int]:
        size = -(-count1 // grid1)
        return size, size if symmetric else size2

    def duration(choice: tuple[int, int]) -> float:
        shares, grid1 = choice
        size1, size2 = sizes(grid1)
        grid2 = -(-count2 // size2)
        tiles = shares * (grid1 * (grid1 + 1) // 2 if symmetric else grid1 * grid2)
        return -(-tiles // workers) * (size1 * size2 + IMAGE * (size1 + size2)) / shares

    fewest = -(-count1 // size1)
    grids = range(fewest, min(count1, fewest + 4 * workers) + 1)
    shares, grid1 = min(itertools.product(sorted({1, shares}), grids), key=duration)
    size, _ = sizes(grid1)
    if not symmetric:
        return size, size2, shares
    # Filled only now: tiles of one image would seem to save what fills larger ones.
    full = min(filled(size), size2)
    size = full if -(-count1 // full) == grid1 else size
    return size, size, shares


def largest_divisor(size: int, most: int) -> int:
    """The largest divisor of `size` that is at most `most`."""
    return max(d for d in range(1, min(size, most) + 1) if size % d == 0)


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
