"""Which examples and outputs of a tangent kernel are computed together, so that memory is bounded.

The gradients of a *tile* of rows of f(x1) are kept, while those of one *chunk* of rows of f(x2)
after the other are computed and multiplied by them. A tile is computed chunk by chunk, too, since a
backward pass takes more memory than the gradients that it leaves. A row is a single output of an
example: a place of the paired, the diagonal and the traced axes of the output.

Of 64 images with 10 outputs, a budget may have room for the gradients of 300 rows: three tiles of
22 images each, and as the second inputs pass by each of them, they are differentiated three times.
Diagonal and traced places may be computed one after the other instead: then a tile holds more
images.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ntkjax._finite.dependence import EXAMPLE, ROW
from ntkjax._finite.footprint import Footprint
from ntkjax._kernel.algebra.diagonals import largest_divisor

#: Parts of the budget: for the backward passes of a chunk, for the gradients of a tile, and for the
#: products of the two.
_CHUNK, _TILE, _PRODUCTS = 0.3, 0.4, 0.2


class Places(NamedTuple):
    """How many places of an output there are: paired ones of either side, diagonal, traced."""

    paired1: int
    paired2: int
    diagonal: int
    traced: int


@dataclasses.dataclass(frozen=True)
class Rows:
    """How many examples, and how many paired places of each, are computed together."""

    examples: int
    paired: int

    def grid(self, examples: int, paired: int) -> tuple[int, int]:
        """How many of these make up so many examples and places."""
        return -(-examples // self.examples), -(-paired // self.paired)

    def even(self, examples: int, paired: int) -> "Rows":
        """As many tiles of these, but all as large as each other."""
        grid1, grid2 = self.grid(examples, paired)
        return Rows(-(-examples // grid1), -(-paired // grid2))


@dataclasses.dataclass(frozen=True)
class Tiles:
    """The sizes of everything, and the multiplications that all of it takes.

    Attributes:
      chunk1: rows of x1 whose gradients are computed at a time.
      chunk2: rows of x2 whose gradients are computed and multiplied at a time.
      tile: rows of x1 whose gradients are kept.
      diagonal: diagonal places at a time.
      traced: traced places at a time.
      work: multiplications of forward and backward passes.
    """

    chunk1: Rows
    chunk2: Rows
    tile: Rows
    diagonal: int
    traced: int
    work: float


class Take(NamedTuple):
    """What one side takes.

    Attributes:
      examples: number of examples.
      paired: number of paired places of each.
      footprint: of a backward pass.
    """

    examples: int
    paired: int
    footprint: Footprint

    def rows(self, shared: int, budget: float) -> Rows:
        """As many rows with `shared` shared places each as a backward pass may have at a time."""
        most = most_rows(self.footprint, 1, budget)
        paired = min(self.paired, max(most // shared, 1))
        examples = most_examples(self.footprint, paired * shared, budget)
        return Rows(min(examples, self.examples), paired).even(self.examples, self.paired)

    def passes(self, chunk: Rows, shared: int) -> float:
        """Multiplications of all forward and backward passes."""
        _, repeated = chunk.grid(self.examples, self.paired)
        forward, backward = self.footprint.operations[[EXAMPLE, ROW]]
        return self.examples * (repeated * forward + self.paired * shared * backward)

    def kept(self, shared: int) -> tuple[float, float]:
        """Bytes that are kept of an example, and of each of its paired places."""
        return float(self.footprint.made[EXAMPLE]), float(self.footprint.made[ROW]) * shared


def most_rows(footprint: Footprint, examples: int, budget: float) -> int:
    """The number of rows of each of so many examples that a backward pass has room for."""
    once, example, row = footprint.live.T
    free = budget - once - examples * example
    needs = row > 0
    return max(int(np.min(free[needs] / (examples * row[needs]), initial=2.0**31)), 1)


def most_examples(footprint: Footprint, rows: int, budget: float) -> int:
    """The number of examples with so many rows each that a backward pass has room for."""
    once, example, row = footprint.live.T
    each = example + rows * row
    needs = each > 0
    return max(int(np.min((budget - once)[needs] / each[needs], initial=2.0**31)), 1)


def choose_tiles(
    first: Take, second: Take | None, places: Places, pair: int, budget: float
) -> Tiles:
    """The tiles that take least work within a budget; `second` is None where it is the first.

    `pair` are the bytes that the product of two rows takes while it is made.
    """
    shares = {(places.diagonal, places.traced), (1, places.traced), (1, 1)}
    shares |= {(1, largest_divisor(places.traced, n)) for n in _powers(places.traced)}
    shares |= {(largest_divisor(places.diagonal, n), 1) for n in _powers(places.diagonal)}
    tilings = [_tiles(first, second, places, share, pair, budget) for share in sorted(shares)]
    return min(tilings, key=lambda tiles: tiles.work)


def _powers(most: int) -> Sequence[int]:
    return [2**k for k in range(1, most.bit_length())]


def _tiles(
    first: Take,
    second: Take | None,
    places: Places,
    share: tuple[int, int],
    pair: int,
    budget: float,
) -> Tiles:
    diagonal, traced = share
    shared = diagonal * traced
    chunk1 = first.rows(shared, _CHUNK * budget)
    chunk2 = chunk1 if second is None else second.rows(shared, _CHUNK * budget)
    of_example, of_place = first.kept(shared)
    room = _TILE * budget
    paired = min(first.paired, max(int((room - of_example) / max(of_place, 1)), 1))
    examples = min(first.examples, max(int(room / max(of_example + paired * of_place, 1)), 1))
    # The products of a tile and a chunk.
    other = chunk2.examples * chunk2.paired * diagonal * pair
    examples = min(examples, max(int(_PRODUCTS * budget / (other * paired)), 1))
    paired = min(paired, max(int(_PRODUCTS * budget / (other * examples)), 1))
    tile = Rows(examples, paired).even(first.examples, first.paired)
    chunk1 = Rows(min(chunk1.examples, tile.examples), min(chunk1.paired, tile.paired))
    chunk1 = chunk1.even(tile.examples, tile.paired)
    whole1, whole2 = chunk1.grid(tile.examples, tile.paired)
    tile = Rows(whole1 * chunk1.examples, whole2 * chunk1.paired)
    grid1, grid2 = tile.grid(first.examples, first.paired)
    work = first.passes(chunk1, shared)
    if second is not None or grid1 * grid2 > 1:
        work += grid1 * grid2 * (second or first).passes(chunk2, shared)
    work *= (places.diagonal // diagonal) * (places.traced // traced)
    return Tiles(chunk1, chunk2, tile, diagonal, traced, work)
