"""How images are cut into tiles: blocks computed together, so that memory stays bounded."""

import dataclasses
import itertools

from ntkjax._kernel.algebra.diagonals import largest_divisor
from ntkjax._kernel.algebra.lanes import VECTOR, filled
from ntkjax._kernel.plan.resources import Resources

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
