"""Diagonals of pairs, made one after the other and collected: the inner loops of the engine.

For each diagonal, what single images contribute is made once for the whole tile; then its pairs are
made block by block, and each block's row goes at once where it belongs.

A tile of 4 x 4 images under a global pool over four positions, in blocks of two first images:

    for d in 0, 1, 2, 3:                      one diagonal, [4 positions, ...]
        what first and second images contribute, [4, 4 images] each
        for first images 0-1, 2-3:            one block, [4 positions, 2, 4]
            the layers, one after the other; add the row to the total, [4 positions, 4, 4].
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntkjax._kernel.algebra.boundary import materialized, recomputed
from ntkjax._kernel.algebra.diagonals import Diagonals, Shift, largest_divisor
from ntkjax._kernel.algebra.lanes import Lanes
from ntkjax._kernel.algebra.operation import Collector, Seen
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.algebra.sides import FIRST, SECOND
from ntkjax._kernel.algebra.varying import zeros_beside
from ntkjax._kernel.engine.contributions import (
    Contributions,
    ImageMaps,
    Parts,
    contributions,
    laid_out,
)
from ntkjax._kernel.engine.pairs import Stores, cropped, loaded, pairs_of
from ntkjax._kernel.plan.plan import Plan
from ntkjax._kernel.plan.segment import Segment
from ntkjax._kernel.plan.sweep import Sweep


@dataclasses.dataclass(frozen=True)
class Pairing:
    """Which images are paired: of two batches, or each image of a batch with itself.

    Attributes:
      first: what belongs to the first images.
      second: what belongs to the second images.
      counts: first and second images, or images of the batch.
      most: how many numbers an array of a block of pairs may have; None for no blocks.
      same: which pairs are of one image with itself, if any may be.
      is_symmetric: whether first and second images are the same, in the same order.
      share: which of how many parts of the diagonals to take; None for all.
    """

    first: ImageMaps
    second: ImageMaps
    counts: tuple[int, ...]
    most: int | None = None
    same: Array | None = None
    is_symmetric: bool = False
    share: tuple[Any, int] | None = None

    @property
    def are_images(self) -> bool:
        """Whether these are images of a batch, each with itself."""
        return len(self.counts) == 1

    def block_of(self, segment: Segment, members: int) -> int:
        """How many first images to take at a time, where so many diagonals are made together."""
        if self.most is None:
            return self.counts[0]
        # Of several diagonals twice as many numbers, or what each adds is in too short pieces.
        most = self.most if members == 1 else 2 * self.most // members
        places = max(math.prod(row.grid.periods) for row in segment.rows.values())
        return largest_divisor(self.counts[0], max(most // (places * self.counts[-1]), 1))

    def place(self, start: Any) -> tuple[Any, ...]:
        """Where among the lanes a block stands whose first images start at `start`."""
        return (start, *(0,) * (len(self.counts) - 1))

    def seen(self, index: int) -> Seen:
        """What belongs to the images at a node, as an operation that stores its rows sees it."""
        first, second = self.first.maps.get(index), self.second.maps.get(index)
        return Seen(None, first, second, self.same, self.is_symmetric)


def swept(plan: Plan, sweep: Sweep, pairing: Pairing, stores: Stores) -> Stores:
    """The rows that collectors make of the diagonals of a sweep, before they are stored."""
    groups = sweep.groups
    if pairing.share is not None and sweep.rows.count // math.prod(groups) % pairing.share[1]:
        groups = (1,) * sweep.rows.ndim  # so that all have as many
    totals = {i: _start(plan, i, pairing, stores) for i in sweep.collectors}
    totals = _each_row(plan, sweep, groups, pairing, stores, totals)
    return {i: _finished(plan, i, pairing, total) for i, total in totals.items()}


def stored(plan: Plan, index: int, rows: Pairs, pairing: Pairing) -> Pairs:
    """The rows of a collector as they are stored."""
    operation, step = _collector(plan, index), plan.steps[index]
    if pairing.are_images:
        return operation.stored_own(rows, pairing.first.maps.get(index), step)
    return operation.stored(rows, pairing.seen(index), step)


def _collector(plan: Plan, index: int) -> Collector:
    operation = plan.nodes[index].operation
    assert isinstance(operation, Collector)
    return operation


def _start(plan: Plan, index: int, pairing: Pairing, stores: Stores) -> Pairs:
    """The total of a collector before the first row: zero in each array that it is given."""
    operation, step = _collector(plan, index), plan.steps[index]
    shape = operation.start(step.below, step.here.cross, pairing.counts)
    known = [
        array
        for array in jax.tree.leaves((pairing.first, pairing.second, stores))
        if jnp.issubdtype(array.dtype, np.floating)
    ]
    zeros = zeros_beside(shape, jnp.result_type(*known), known)
    form = step.given
    ntk, distance = form.has_tangent or None, form.has_distance or None
    return Pairs(zeros, ntk and zeros, distance and zeros)


def _finished(plan: Plan, index: int, pairing: Pairing, total: Pairs) -> Pairs:
    operation, step = _collector(plan, index), plan.steps[index]
    return total.map(lambda a: operation.finish(a, step.below))


def _each_row(
    plan: Plan,
    sweep: Sweep,
    groups: tuple[int, ...],
    pairing: Pairing,
    stores: Stores,
    totals: Stores,
) -> Stores:
    """Add every diagonal of a sweep to the totals, in groups of so many along each axis."""
    targets = sweep.targets(plan)
    shifts = _grouped(sweep.rows, groups)
    members = shifts.shape[1]
    lanes = Lanes(pairing.counts, members)
    only = shifts.shape[:2] == (1, 1)
    known: Any = (
        tuple(map(int, shifts[0, 0])) if only else tuple(shifts.reshape(-1, sweep.rows.ndim).T)
    )
    everywhere = Segment.to(plan, targets, known)
    sides = [
        laid_out(everywhere, maps, lanes, side)
        for maps, side in ((pairing.first, FIRST), (pairing.second, SECOND))
    ]

    def add(totals: Stores, made: Stores, segment: Segment, start: Any) -> Stores:
        def one(i: int, total: Pairs) -> Pairs:
            (below,) = plan.nodes[i].inputs
            shift = segment.rows[below].shift
            return _added(plan, i, total, made[below], shift, pairing.place(start))

        return {i: one(i, total) for i, total in totals.items()}

    def some(totals: Stores, shift: Any) -> Stores:
        segment = Segment.to(plan, targets, shift)
        parts = _parts(segment, lanes, sides, pairing)
        given = loaded(segment, stores)
        size = pairing.block_of(segment, members)
        if size == pairing.counts[0]:
            return add(totals, pairs_of(segment, given, parts), segment, 0)

        def body(totals: Stores, start: Array) -> tuple[Stores, None]:
            of_block = _block(given, parts, start, size)
            return add(totals, pairs_of(segment, *of_block), segment, start), None

        return lax.scan(recomputed(body), totals, jnp.arange(0, pairing.counts[0], size))[0]

    if only:
        return some(totals, known)

    def body(totals: Stores, shifts: Array) -> tuple[Stores, None]:
        along_axes = materialized(lambda s: tuple(s[0] if len(s) == 1 else s.T), shifts)
        return some(totals, along_axes), None

    which = jnp.asarray(shifts)
    if pairing.share is not None:
        index, count = pairing.share
        which = which.reshape(count, -1, *which.shape[1:])[index]
    # Backwards, rows are made again: kept, they would be all pairs of positions.
    return lax.scan(recomputed(body), totals, which)[0]


def _added(
    plan: Plan, index: int, total: Pairs, made: Pairs, shift: Shift, lanes: tuple[Any, ...]
) -> Pairs:
    """The total of a collector with one more group of rows."""
    operation, step = _collector(plan, index), plan.steps[index]
    (below,) = plan.nodes[index].inputs
    made = cropped(plan, below, made, operation.halo(step.below, step.here.cross))

    def add(total: Array, made: Array) -> Array:
        return operation.add(total, made, shift, lanes, step.below, step.here.cross)

    return jax.tree.map(add, total, made)


def _parts(segment: Segment, lanes: Lanes, sides: list[Contributions], pairing: Pairing) -> Parts:
    """What the pairs of a tile need on some diagonals, besides the stored ones."""
    on_diagonals = segment.masks()
    masks = [lanes.of_masks(on_diagonals, side) for side in (FIRST, SECOND)]
    first, second = map(contributions, [segment] * 2, sides, masks)
    operations = {i: segment.operation(i) for i in segment.order}
    return Parts(operations, masks[1], first, second, pairing.same)


def _block(given: Stores, parts: Parts, start: Array, size: int) -> tuple[Stores, Parts]:
    """What belongs to a block of first images, from `start` on."""

    def cut(arrays: Any, axis: int) -> Any:
        return jax.tree.map(
            lambda a: lax.dynamic_slice_in_dim(a, start, size, axis, allow_negative_indices=False),
            arrays,
        )

    first, same = cut(parts.first, -1), cut(parts.same, -2)
    return cut(given, -2), dataclasses.replace(parts, first=first, same=same)


def _grouped(rows: Diagonals, groups: tuple[int, ...]) -> np.ndarray:
    """The displacements of some rows, so many along each axis at a time: (group, member, axis)."""
    ndim = rows.ndim
    split = [n for held, g in zip(rows.rows, groups, strict=True) for n in (len(held) // g, g)]
    table = rows.displacements().reshape(*split, ndim)
    table = table.transpose(*range(0, 2 * ndim, 2), *range(1, 2 * ndim, 2), 2 * ndim)
    members = math.prod(groups)
    return table.reshape(rows.count // members, members, ndim)
