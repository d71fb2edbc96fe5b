"""What a computation would do, before it is done: `kernel_fn.plan`."""

import dataclasses
import math

from ntkjax._kernel.algebra.operation import MixingOperation, RowOperation
from ntkjax._kernel.plan.plan import Plan
from ntkjax._kernel.plan.resources import Resources, cores
from ntkjax._kernel.plan.segment import Segment
from ntkjax._kernel.plan.tiling import SIDE, Need, Tiling, choose_tiling

#: Floating-point operations in a second of one CPU core (measured on 21 convolutions with ReLU) and
#: of an accelerator (a guess: nothing was measured there).
_CORE, _ACCELERATOR = 5e10, 2e12
#: Fewer operations are no work to share: handing out tiles takes some milliseconds.
_WORTH_SHARING = 5e8


@dataclasses.dataclass(frozen=True)
class Stage:
    """The layers between two places where diagonals mix.

    Attributes:
      place: the layer that ends it.
      sizes: the finest resolution in it.
      diagonals: how many diagonals of its last layer are made, one after the other.
      layers: how many operations each of them runs through.
      operations: floating-point operations for each pair of images.
    """

    place: str
    sizes: tuple[int, ...]
    diagonals: int
    layers: int
    operations: float


@dataclasses.dataclass(frozen=True)
class Forecast:
    """A plan in numbers; prints as a table.

    Attributes:
      stages: its stages, in order.
      pairs: pairs of images that are computed, those that fill up tiles included.
      tile: first and second images in a tile.
      block: first images of a tile at a time.
      tiles: number of tiles.
      bytes: memory of one tile.
      operations: floating-point operations in all.
      seconds: estimated time, after compilation, within a factor of a few.
      workers: how many tiles are made at a time.
    """

    stages: tuple[Stage, ...]
    pairs: int
    tile: tuple[int, int]
    block: int
    tiles: int
    bytes: int
    operations: float
    seconds: float
    workers: int

    def __str__(self) -> str:
        head = ("up to", "resolution", "diagonals", "operations", "flop a pair")
        rows = [head] + [
            (s.place, "x".join(map(str, s.sizes)) or "-", f"{s.diagonals}", f"{s.layers}",
             f"{s.operations:.2g}")
            for s in self.stages
        ]  # fmt: skip
        widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
        lines = [
            "  ".join(
                cell.ljust(width) if k == 0 else cell.rjust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        first, second = self.tile
        lines.append(
            f"{self.tiles} tiles of {first} x {second} images, {self.block} x {second} at a time, "
            f"{self.bytes / 2**20:.0f} MiB each, {self.workers} at a time"
        )
        lines.append(f"{self.operations:.2g} flop, about {self.seconds:.2g} s after compilation")
        return "\n".join(lines)

    __repr__ = __str__


def forecast(plan: Plan, itemsize: int, resources: Resources) -> Forecast:
    """The plan in numbers."""
    tiling = tiling_of(plan, itemsize, resources)
    size = tiling.size1, tiling.size2
    if not plan.is_streamed:
        size = plan.counts
    stages = _stages(plan)
    count = len(tiling.tiles) if plan.is_streamed else 1
    pairs = count * size[0] * size[1] // tiling.shares
    operations = pairs * sum(stage.operations for stage in stages)
    (device, *_) = resources.devices
    speed = _CORE * cores() if device.platform == "cpu" else _ACCELERATOR * len(resources.devices)
    return Forecast(
        tuple(stages), pairs, size, tiling.block, count, need_of(plan, itemsize).bytes(*size),
        operations, operations / speed, min(resources.workers, count),
    )  # fmt: skip


def tiling_of(plan: Plan, itemsize: int, resources: Resources) -> Tiling:
    """The tiles in which a plan is carried out, for numbers of so many bytes."""
    scalar = all(plan.held[index].cross.ndim == 0 for index in plan.outputs)
    symmetric = plan.symmetric and scalar
    operations = math.prod(plan.counts) * sum(stage.operations for stage in _stages(plan))
    resources = resources if operations > _WORTH_SHARING else resources.alone()
    shares = 1
    if plan.joint is not None and len(resources.devices) == 1:
        rows = plan.given_rows(plan.joint, plan.held[plan.joint].cross)
        shares = math.gcd(rows.count, resources.workers)
    need = need_of(plan, itemsize)
    tiling = choose_tiling(*plan.counts, need, symmetric, resources, shares)
    return dataclasses.replace(tiling, members=_most_members(plan, tiling.size2))


def _most_members(plan: Plan, images: int) -> int:
    """Most diagonals made together, of so many second images."""
    groups = (
        node.operation.groups(plan.given_rows(index, held.cross), held.cross, images)
        for index, (node, held) in enumerate(zip(plan.nodes, plan.held, strict=True))
        if isinstance(node.operation, MixingOperation)
    )
    return max(map(math.prod, groups), default=1)


def need_of(plan: Plan, itemsize: int) -> Need:
    """Memory that a plan takes for each pair and each image of a tile."""
    places = [math.prod(held.cross.periods) for held in plan.held]
    kernels = 1 + plan.request.ntk
    pair, image = 6 * kernels * max(places), 0
    for index, (node, held) in enumerate(zip(plan.nodes, plan.held, strict=True)):
        operation = node.operation
        if isinstance(operation, MixingOperation):
            below = plan.held[node.inputs[0]].cross
            total = operation.start(below, held.cross, ())
            pair += kernels * math.prod(total)
        if index in plan.outputs:
            pair += kernels * places[index] * held.cross.count
        # Maps of an image, once around and twice along every axis, and as pairs see them.
        maps = 3 if isinstance(operation, RowOperation) and operation.needs_distance else 1
        image += places[index] * maps * (2 + 2**held.cross.ndim)
    return Need(max(places), itemsize * pair, itemsize * image, _most_members(plan, SIDE))


def _stages(plan: Plan) -> list[Stage]:
    """The parts of the work."""
    result = []
    for index, node in enumerate(plan.nodes):
        if isinstance(node.operation, MixingOperation):
            (below,) = node.inputs
            rows = plan.given_rows(index, plan.held[index].cross)
            result.append(_stage(plan, below, rows.count, index))
        if index in plan.outputs:
            result.append(_stage(plan, index, plan.held[index].cross.count, None))
    return result


def _stage(plan: Plan, target: int, diagonals: int, mixing: int | None) -> Stage:
    """The operations below a target, for all diagonals that are made of it."""
    zero = (0,) * plan.held[target].cross.ndim
    segment = Segment.to(plan, target, zero)
    nodes = sorted(segment.rows)
    kernels = 1 + plan.request.ntk
    work, layers = 0.0, 0
    for i in nodes:
        operation, places = plan.nodes[i].operation, math.prod(plan.held[i].cross.periods)
        if segment.is_source(i):
            work += 3.0 * places * (plan.nodes[i].signal.channels if operation is None else 1)
        elif isinstance(operation, RowOperation):
            work += kernels * places * operation.work
            layers += 1
    if mixing is not None:
        work += kernels * math.prod(plan.held[target].cross.periods) * 4.0
    sizes = max((plan.held[i].cross.sizes for i in nodes), key=math.prod)
    end = target if mixing is None else mixing
    return Stage(plan.nodes[end].place, sizes, diagonals, layers, diagonals * work)
