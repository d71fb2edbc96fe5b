"""How images are cut into tiles: blocks computed together, so that memory stays bounded."""

import dataclasses
import itertools
from collections.abc import Callable

from ntkjax._kernel.algebra.diagonals import largest_divisor
from ntkjax._kernel.algebra.lanes import VECTOR, filled, slowness
from ntkjax._kernel.plan.resources import Resources

#: Numbers in one array of a block of pairs on one diagonal, for each core that works on it: a few
#: such arrays fit into the cache of a core, and one of them is enough work for an operation.
BLOCK, WIDE_BLOCK = 2**17, 2**18
#: Images on a side of a tile with positions, and of one without (wide).
SIDE, WIDE_SIDE = 32, 2048
#: Time for what belongs to one image, and for starting the operations of a tile, in units of the
#: time for a pair.
IMAGE, START = 1, 8


@dataclasses.dataclass(frozen=True)
class Need:
    """Memory and work of a plan.

    Attributes:
      positions: positions on a diagonal, at the place that has most.
      pair: bytes that are kept for each pair of images.
      image: bytes that are kept for each image.
      members: the number of diagonals that are made together where most of the work is, of tiles
        with so many second images.
    """

    positions: int
    pair: int
    image: int
    members: Callable[[int], int] = lambda images: 1

    def bytes(self, first: int, second: int) -> int:
        """Bytes for a tile of so many first and second images."""
        return self.pair * first * second + self.image * (first + second)


@dataclasses.dataclass(frozen=True)
class Tiling:
    """How many images of each batch make a tile, and how many first images a block within it.

    The last tile of a side ends where its batch does, and shares images with the one before. A
    single tile may be larger than its batch, and is filled up.

    Attributes:
      count1: first images.
      count2: second images.
      size1: first images in a tile.
      size2: second images in a tile.
      block: first images in a block, at the place that has most positions.
      most: numbers in one array of a block.
      symmetric: whether both batches are the same.
      shares: number of partial tiles, one per share of the diagonals, that add up to one tile.
      members: the largest number of diagonals that are made together.
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
    def shape(self) -> tuple[int, int]:
        """How many first and second images the tiles cover."""
        return max(self.count1, self.size1), max(self.count2, self.size2)

    @property
    def is_one(self) -> bool:
        """Whether there is a single tile."""
        return self.grid == (1, 1) and self.shares == 1

    @property
    def tiles(self) -> list[tuple[int, int, int]]:
        """Row, column and share of every tile to compute.

        Of a symmetric matrix, these are the tiles on and above the diagonal.
        """
        places = itertools.product(*map(range, (*self.grid, self.shares)))
        return [(i, j, share) for i, j, share in places if not self.symmetric or i <= j]


def choose_tiling(
    count1: int, count2: int, need: Need, symmetric: bool, resources: Resources, shares: int = 1
) -> Tiling:
    """The largest useful tiles within the budget, spread evenly over the workers.

    `shares` is the number of shares into which the diagonals may be divided.
    """
    most = resources.cores * (BLOCK if need.positions > 1 else WIDE_BLOCK)
    side = SIDE if need.positions > 1 else WIDE_SIDE
    # Tiles on the diagonal of a symmetric matrix compute each pair twice; small ones are few pairs.
    side = side // 2 if symmetric else side
    # Diagonals that are made together are lanes as well: then fewer second images fill vectors.
    members = need.members(side)
    side2 = side if symmetric or members == 1 else max(side // (2 * members), 8)
    size1, size2 = min(count1, side), min(_filled(need, count2), side2)
    if symmetric:
        size1 = size2
    elif count2 > side:
        size1 = min(count1, 4 * side)  # so that what belongs to second images is used more often
    while need.bytes(size1, size2) > resources.budget and size1 * size2 > 1:
        if size1 >= size2 or symmetric:
            size1 = -(-size1 // 2)
        if size1 < size2 or symmetric:
            size2 = -(-size2 // 2)
    if need.positions > 1:
        size1, size2, shares = _shared_evenly(
            count1, count2, size1, size2, symmetric, resources.workers, shares, need
        )
    # Tiles of nearly equal sizes, of full vectors and of whole blocks.
    if not symmetric or need.positions == 1:
        size1 = -(-count1 // -(-count1 // size1))
        size2 = min(_filled(need, -(-count2 // -(-count2 // size2))), size2)
    blocks = -(-size1 // max(most // (need.positions * size2), 1))
    block = -(-size1 // blocks)
    if symmetric:
        block = largest_divisor(size1, block)
    else:
        size1 = _rounded(need, block, size2) * blocks
        block = size1 // blocks
    return Tiling(count1, count2, size1, size2, block, most, symmetric, shares)


def _filled(need: Need, count: int) -> int:
    """So many images, rounded up to fill vectors on the diagonals that are made together."""
    return filled(count, need.members(count)) if need.positions > 1 else count


def _rounded(need: Need, first: int, second: int) -> int:
    """So many first images, or a few more where that is faster."""
    if need.positions == 1:
        return first
    lanes = second * need.members(second)
    return min(first, -(-first // 4) * 4, key=lambda first: first * slowness(first, lanes))


def _shared_evenly(
    count1: int,
    count2: int,
    size1: int,
    size2: int,
    symmetric: bool,
    workers: int,
    shares: int,
    need: Need,
) -> tuple[int, int, int]:
    """Sizes of tiles, at most these, and the number of shares, for the shortest total time."""

    def sizes(grid1: int) -> tuple[int, int]:
        size = -(-count1 // grid1)
        if not symmetric:
            return _rounded(need, size, size2), size2
        # The last tile shares images with the one before; a single one is filled up with others.
        size = min(_filled(need, size), size1)
        return size, size

    def duration(choice: tuple[int, int]) -> float:
        shares, grid1 = choice
        size1, size2 = sizes(grid1)
        grid1, grid2 = -(-count1 // size1), -(-count2 // size2)
        tiles = shares * (grid1 * (grid1 + 1) // 2 if symmetric else grid1 * grid2)
        slow = slowness(size1, size2 * need.members(size2))
        tile = slow * size1 * size2 + IMAGE * (size1 + size2) + START
        return -(-tiles // workers) * tile / shares

    fewest = -(-count1 // size1)
    grids = range(fewest, min(count1, fewest + 4 * workers) + 1)
    shares, grid1 = min(itertools.product(sorted({1, shares}), grids), key=duration)
    return *sizes(grid1), shares
