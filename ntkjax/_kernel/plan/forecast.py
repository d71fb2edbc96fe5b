"""What a computation would do, before it is done: `kernel_fn.plan`."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

from ntkjax._kernel.plan.plan import Plan
from ntkjax._kernel.plan.resources import Resources, cores
from ntkjax._kernel.plan.segment import Segment
from ntkjax._kernel.plan.sweep import Sweep, find_sweeps, sweep_of
from ntkjax._kernel.plan.tiling import SIDE, Need, Tiling, choose_tiling

#: Floating-point operations in a second of one CPU core (measured on 21 convolutions with ReLU) and
#: of an accelerator (a guess: nothing was measured there).
_CORE, _ACCELERATOR = 5e10, 2e12
#: Fewer operations are no work to share, or to prepare for: handing out tiles takes some
#: milliseconds, and so does looking at all images.
_WORTHWHILE = 5e8
#: Bytes of a tile whose pairs of positions are all stored: a larger one is no faster.
_STORED = 2**27


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
    stages = _stages(plan)
    count = len(tiling.tiles)
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
    scalar = all(plan.places[index].cross.ndim == 0 for index in plan.outputs)
    symmetric = plan.symmetric and scalar
    resources = resources if is_long(plan) else resources.alone()
    shares = 1
    if plan.joint is not None and len(resources.devices) == 1:
        rows = plan.given_rows(plan.joint, plan.places[plan.joint].cross)
        shares = math.gcd(rows.count, resources.workers)
    need = need_of(plan, itemsize)
    if any(node.operation.copies for node in plan.nodes):
        resources = dataclasses.replace(resources, budget=min(resources.budget, _STORED))
    tiling = choose_tiling(*plan.counts, need, symmetric, resources, shares)
    return dataclasses.replace(tiling, members=_most_members(plan, tiling.size2))


def has_costly_scales(plan: Plan) -> bool:
    """Whether a program without scales is so much faster, to run or to compile, that it is sought.

    The branches of an activation that changes scales take longer to compile than all else.
    """
    nodes = zip(plan.nodes, plan.scales.renews, strict=True)
    return is_long(plan) or any(renews and node.operation.is_costly for node, renews in nodes)


def is_long(plan: Plan) -> bool:
    """Whether a plan is so much work that milliseconds of preparation are worthwhile."""
    operations = math.prod(plan.counts) * sum(stage.operations for stage in _stages(plan))
    return operations > _WORTHWHILE


def _most_members(plan: Plan, images: int) -> int:
    """Most diagonals made together, of so many second images."""
    groups = (sweep_of(plan, index, images).groups for index in plan.collectors)
    return max(map(math.prod, groups), default=1)


def _members(plan: Plan) -> Callable[[int], int]:
    """The number of diagonals made together where most of the work is, by second images."""
    sweeps = find_sweeps(plan, SIDE)
    if not sweeps:
        return lambda images: 1
    most = max(sweeps, key=lambda sweep: _stage(plan, sweep).operations)
    return functools.cache(
        lambda images: math.prod(sweep_of(plan, most.collectors[0], images).groups)
    )


def need_of(plan: Plan, itemsize: int) -> Need:
    """Memory that a plan takes for each pair and each image of a tile."""
    places = [math.prod(place.cross.periods) for place in plan.places]
    kernels = 1 + plan.request.ntk
    pair, image = 6 * kernels * max(places), 0
    for index, (node, place) in enumerate(zip(plan.nodes, plan.places, strict=True)):
        operation: Any = node.operation
        if operation.collects:
            total = operation.start(plan.steps[index].below, place.cross, ())
            pair += kernels * math.prod(total) * (1 + operation.copies)
        # Maps of an image, once around and twice along every axis, and as pairs see them.
        maps = 3 if operation.is_costly else 1
        image += places[index] * maps * (2 + 2**place.cross.ndim)
    return Need(max(places), itemsize * pair, itemsize * image, _members(plan))


def _stages(plan: Plan) -> list[Stage]:
    """The parts of the work: the sweeps."""
    return [_stage(plan, sweep) for sweep in find_sweeps(plan, SIDE)]


def _stage(plan: Plan, sweep: Sweep) -> Stage:
    """The operations of a sweep, for all of its diagonals."""
    zero = (0,) * sweep.rows.ndim
    segment = Segment.to(plan, sweep.targets(plan), zero)
    kernels = 1 + plan.request.ntk
    work, layers = 0.0, 0
    for i in sorted(segment.rows):
        operation, place = plan.nodes[i].operation, plan.places[i]
        positions = math.prod(place.cross.periods)
        if segment.is_source(i):
            work += 3.0 * positions * (1 if operation.is_stored else place.signal.channels)
        else:
            work += kernels * positions * operation.work
            layers += 1
    for i in sweep.collectors:
        work += kernels * math.prod(plan.places[i].cross.periods) * 4.0
    sizes = max((plan.places[i].cross.sizes for i in segment.rows), key=math.prod)
    place = plan.nodes[sweep.collectors[-1]].place
    return Stage(place, sizes, sweep.rows.count, layers, sweep.rows.count * work)
