"""What is measured: the rows of the comparison, the ways to scale the first, near-equal points."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from spec import OURS, Spec

IMAGE = (32, 32, 3)
FIRST_CALL_LIMIT = 6.0  # seconds
MEMORY_LIMIT = 1024.0  # MiB
MEMORY_BLOCK = 64
TWIN_DISTANCE = 1e-3


class Row(NamedTuple):
    """One network, the block of pairs that each library computes at once, and the target."""

    number: int
    title: str
    network: str
    options: Mapping[str, Any]
    shape: tuple[int, ...]
    block: int
    # The peer takes the best of these. With global pooling, strides or windows it stores a number
    # for every pair of positions of every pair of images: 4 MiB an entry, several times over.
    peer_blocks: Sequence[int]
    target: float  # how many times faster than the peer
    aim: float | None = None
    whole: bool = False  # whether times are those of the whole matrix, not of an entry

    def spec(self, package: str, block: int) -> Spec:
        return Spec(package, self.network, self.options, self.shape, (block, block))


def dense_row(
    number: int, activation: str, target: float, depth: int = 5, points: int = 2000, size: int = 100
) -> Row:
    """A fully connected network, on so many points of so many numbers."""
    options = {"depth": depth, "activation": activation}
    return Row(
        number, f"{depth} x (Dense, {activation}), Dense; {points} x {points} x {size}",
        "fully_connected", options, (size,), points, [points], target, whole=True,
    )  # fmt: skip


ROWS = (
    Row(
        1, "21 x (Conv, Relu), GlobalAvgPool, Dense", "convolutional",
        {"depth": 21, "pooling": "GlobalAvgPool"}, IMAGE, 16, [1, 2], 100, aim=250,
    ),
    Row(
        2, "21 x (Conv, Relu), Flatten, Dense", "convolutional",
        {"depth": 21, "pooling": "Flatten"}, IMAGE, 64, [16, 32, 64], 8,
    ),
    Row(3, "Myrtle-5", "myrtle5", {}, IMAGE, 32, [2, 4, 8], 50),
    Row(
        4, "WideResnet-28, AvgPool((8, 8)), Flatten", "wide_resnet",
        {"block_size": 4, "k": 1}, IMAGE, 32, [1, 2], 800,
    ),
    Row(
        5, "3 x (Conv, Relu), AvgPool((2, 2)), Flatten, Dense", "pooled",
        {"depth": 3}, IMAGE, 32, [1, 2, 4], 1000,
    ),
    dense_row(6, "Relu", 6),
    dense_row(7, "Erf", 3),
    dense_row(8, "Gelu", 3),
    dense_row(9, "Relu", 3, depth=3, size=784),
    dense_row(10, "Relu", 1.3, depth=3, size=3072),
    dense_row(11, "Relu", 1.2, depth=3, points=200, size=3072),
)  # fmt: skip


class Scaling(NamedTuple):
    """Row 1 with one quantity varied. Its cost per entry should follow quantity ** power."""

    title: str
    quantity: str
    cases: Sequence[int]
    quick: Sequence[int]
    row_1: int  # the quantity's value in row 1
    power: int
    per: str  # what the cost is shared between, once the law is taken out


SCALINGS = {
    "blocks": Scaling("Block size", "block", (8, 16, 32), (8, 16), 16, 0, "entry"),
    "depths": Scaling("Depth", "depth", (5, 11, 21), (5, 11), 21, 1, "layer"),
    "sizes": Scaling("Image size", "size", (8, 16, 32), (8, 16), 32, 4, "pair of positions"),
}


def scaled(quantity: str, case: int) -> Spec:
    """The first row with another block, depth or image size."""
    spec = ROWS[0].spec(OURS, ROWS[0].block)
    if quantity == "block":
        return spec._replace(block=(case, case))
    if quantity == "depth":
        return spec._replace(options={**spec.options, "depth": case})
    # A larger block, or the milliseconds that a call takes by itself would weigh on small images.
    return spec._replace(shape=(case, case, 3), block=(32, 32))


class NearEqual(NamedTuple):
    """A network and points of which each has a near-equal one."""

    title: str
    network: str
    options: Mapping[str, Any]
    shape: tuple[int, ...]
    points: int

    def spec(self, package: str, dtype: str) -> Spec:
        block = (self.points, self.points)
        return Spec(
            package, self.network, self.options, self.shape, block, dtype, TWIN_DISTANCE,
            keep=self.points,
        )  # fmt: skip


NEAR_EQUAL = (
    NearEqual(
        "21 x (Conv, Relu), GlobalAvgPool, Dense; 8 x 8 images", "convolutional",
        {"depth": 21, "pooling": "GlobalAvgPool"}, (8, 8, 3), 8,
    ),
    NearEqual(
        "21 x (Conv, Relu), Flatten, Dense; 8 x 8 images", "convolutional",
        {"depth": 21, "pooling": "Flatten"}, (8, 8, 3), 8,
    ),
    NearEqual(
        "5 x (Dense, Relu), Dense; 200 points", "fully_connected",
        {"depth": 5, "activation": "Relu"}, (50,), 200,
    ),
    NearEqual(
        "100 x (Dense, Relu), Dense; 200 points", "fully_connected",
        {"depth": 100, "activation": "Relu"}, (50,), 200,
    ),
)  # fmt: skip
