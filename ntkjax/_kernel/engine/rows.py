"""Diagonals of one place of the network, for a block of images: the inner loops of the engine.

For each diagonal, what single images contribute is made once for the whole tile; then its pairs are
made block by block, and each block's row goes at once where it belongs.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntkjax._kernel.algebra.boundary import materialized
from ntkjax._kernel.algebra.diagonals import Diagonals, Shift, largest_divisor
from ntkjax._kernel.algebra.lanes import Lanes
from ntkjax._kernel.algebra.operation import MixingOperation
from ntkjax._kernel.algebra.state import FIRST, NO_HALO, SECOND, Halo, Pairs, added, covariance
from ntkjax._kernel.engine.contributions import Contributions, Maps, contributions, laid_out
from ntkjax._kernel.engine.pairs import Stores, cropped, loaded, pairs_of
from ntkjax._kernel.plan.plan import Plan
from ntkjax._kernel.plan.segment import Segment


@dataclasses.dataclass(frozen=True)
class Pairing:
    """Which images are paired: of two batches, or each image of a batch with itself.

    Attributes:
      first: maps of the first images.
      second: maps of the second images.
      counts: first and second images, or images of the batch.
      most: how many numbers an array of a block of pairs may have; None for no blocks.
      same: which pairs are of one image with itself, if any may be.
      share: which of how many parts of the diagonals to take; None for all.
    """

    first: Maps
    second: Maps
    counts: tuple[int, ...]
    most: int | None = None
    same: Array | None = None
    share: tuple[Any, int] | None = None

    def block_of(self, segment: Segment, members: int) -> int:
        """How many first images to take at a time, where so many diagonals are made together."""
        if self.most is None:
            return self.counts[0]
        # Of several diagonals twice as many numbers, or what each adds is in too short pieces.
        most = self.most if members == 1 else 2 * self.most // members
        places = max(math.prod(row.grid.periods) for row in segment.rows.values())
        return largest_divisor(self.counts[0], max(most // (places * self.counts[-1]), 1))


#: Puts rows of a block of pairs where they belong: from the total so far, the rows that are made
#: together, their displacements, and the place of the block among the first images.
Sink = Callable[[Pairs, Pairs, Shift, Any], Pairs]


@dataclasses.dataclass(frozen=True)
class _Diagonal:
    """How diagonals of a node are made.

    Attributes:
      plan: the plan of the network.
      target: the node.
      rows: the diagonals to make.
      pairing: the pairs of images.
      stores: the nodes made already.
      lanes: those of the pairs.
      consumer: which takes the diagonals as they are held; None for covariances, whole tangents.
    """

    plan: Plan
    target: int
    rows: Diagonals
    pairing: Pairing
    stores: Stores
    lanes: Lanes
    consumer: int | None

    @property
    def halo(self) -> Halo:
        """What the consumer reads beyond the ends of a row."""
        if self.consumer is None:
            return NO_HALO * self.rows.ndim
        operation, held = self.plan.nodes[self.consumer].operation, self.plan.held
        assert operation is not None
        return operation.halo(held[self.target].cross, held[self.consumer].cross)

    @property
    def is_converted(self) -> bool:
        """Whether distances are held, and covariances taken."""
        if self.consumer is None:
            return self.plan.held[self.target].in_distances
        return self.plan.is_converted(self.consumer, self.target)

    @property
    def end(self) -> Halo | None:
        """The halo of the target where that is converted at the end."""
        return self.halo if self.is_converted else None

    def laid_out(self, shift: Any) -> tuple[Contributions, Contributions]:
        """The maps of both sides for all diagonals of some displacements."""
        segment = Segment.to(self.plan, self.target, shift)
        first = laid_out(segment, self.pairing.first, self.lanes, FIRST, self.end)
        second = laid_out(segment, self.pairing.second, self.lanes, SECOND, self.end)
        return first, second

    def of_images(
        self, segment: Segment, everywhere: tuple[Contributions, Contributions]
    ) -> tuple[Any, Any, Any]:
        """What does not depend on pairs: of second images and the diagonal, of first, of pairs."""
        on_diagonals = segment.masks()
        masks = [self.lanes.of_masks(on_diagonals, side) for side in (FIRST, SECOND)]
        first, second = (
            contributions(segment, of_side, seen, self.end)
            for of_side, seen in zip(everywhere, masks, strict=True)
        )
        pairs = loaded(segment, self.stores), self.pairing.same
        return (masks[1], second), first, pairs

    def of_pairs(self, segment: Segment, fixed: Any, of_first: Any, of_pairs: Any) -> Pairs:
        """The pairs on the diagonal, of a block of first images."""
        (masks, second), first, (given, same) = fixed, of_first, of_pairs
        pairs = pairs_of(segment, given, masks, first, second, same)
        pairs = cropped(self.plan, self.target, pairs, self.halo)
        if not self.is_converted:
            return pairs
        ends = first.end_variance(), second.end_variance()
        return _covariances(self.plan, self.target, pairs, *ends)


def each_row(
    plan: Plan,
    target: int,
    rows: Diagonals,
    pairing: Pairing,
    stores: Stores,
    total: Pairs,
    sink: Sink,
    consumer: int | None = None,
    groups: tuple[int, ...] | None = None,
) -> Pairs:
    """Hand every one of some diagonals of a node to `sink`, in groups of so many along each axis.

    They come as covariances with whole tangents, unless they go to a consumer which takes them as
    they are held.
    """
    shifts = _grouped(rows, groups or (1,) * rows.ndim)
    members = shifts.shape[1]
    lanes = Lanes(pairing.counts, members)
    diagonal = _Diagonal(plan, target, rows, pairing, stores, lanes, consumer)
    only = shifts.shape[:2] == (1, 1)
    known = tuple(map(int, shifts[0, 0])) if only else tuple(shifts.reshape(-1, rows.ndim).T)
    everywhere = diagonal.laid_out(known)

    def some(total: Pairs, shift: Any) -> Pairs:
        segment = Segment.to(plan, target, shift)
        fixed, of_first, of_pairs = diagonal.of_images(segment, everywhere)
        size = pairing.block_of(segment, members)
        if size == pairing.counts[0]:
            return sink(total, diagonal.of_pairs(segment, fixed, of_first, of_pairs), shift, 0)

        def body(total: Pairs, start: Array) -> tuple[Pairs, None]:
            def cut(arrays: Any, axis: int) -> Any:
                return jax.tree.map(
                    lambda a: lax.dynamic_slice_in_dim(
                        a, start, size, axis, allow_negative_indices=False
                    ),
                    arrays,
                )

            parts = cut(of_first, -1), cut(of_pairs, -2)
            return sink(total, diagonal.of_pairs(segment, fixed, *parts), shift, start), None

        starts = jnp.arange(0, pairing.counts[0], size)
        return lax.scan(jax.checkpoint(body), total, starts)[0]

    if only:
        return some(total, known)

    def body(total: Pairs, shifts: Array) -> tuple[Pairs, None]:
        along_axes = materialized(lambda s: tuple(s[0] if len(s) == 1 else s.T), shifts)
        return some(total, along_axes), None

    which = jnp.asarray(shifts)
    if pairing.share is not None:
        index, count = pairing.share
        which = which.reshape(count, -1, *which.shape[1:])[index]
    # Backwards, rows are made again: kept, they would be all pairs of positions.
    return lax.scan(jax.checkpoint(body), total, which)[0]


def _grouped(rows: Diagonals, groups: tuple[int, ...]) -> np.ndarray:
    """The displacements of some rows, so many along each axis at a time: (group, member, axis)."""
    ndim = rows.ndim
    split = [n for held, g in zip(rows.rows, groups, strict=True) for n in (len(held) // g, g)]
    table = rows.displacements().reshape(*split, ndim)
    table = table.transpose(*range(0, 2 * ndim, 2), *range(1, 2 * ndim, 2), 2 * ndim)
    members = math.prod(groups)
    return table.reshape(rows.count // members, members, ndim)


def _covariances(plan: Plan, target: int, pairs: Pairs, first: Array, second: Array) -> Pairs:
    """Covariances of distances, and whole tangents."""
    cov = covariance(first, second, pairs.moment)
    return Pairs(cov, added(pairs.ntk, cov) if plan.held[target].is_excess else pairs.ntk)


def covariance_rows(
    plan: Plan, target: int, rows: Diagonals, pairing: Pairing, stores: Stores
) -> Pairs:
    """Several diagonals of a node, with an axis in front, as covariances."""
    shape = (rows.count, *rows.periods, *pairing.counts)
    wanted = plan.request.ntk

    def sink(total: Pairs, row: Pairs, shift: Shift, start: Any) -> Pairs:
        def put(total: Array, row: Array) -> Array:
            at = (rows.row_index(shift), *(0,) * rows.ndim, *_lanes_at(start, pairing))
            return lax.dynamic_update_slice(total, row[None], at, allow_negative_indices=False)

        ntk = jnp.zeros_like(row.moment) if wanted and row.ntk is None else row.ntk
        return jax.tree.map(put, total, Pairs(row.moment, ntk))

    total = _zeros(shape, pairing, stores, wanted)
    return each_row(plan, target, rows, pairing, stores, total, sink)


def mixed_rows(plan: Plan, target: int, pairing: Pairing, stores: Stores) -> Pairs:
    """All diagonals that a mixing node holds: the input diagonals, one at a time, added up."""
    operation = plan.nodes[target].operation
    assert isinstance(operation, MixingOperation)
    (below,) = plan.nodes[target].inputs
    step = plan.step(target)

    def sink(total: Pairs, made: Pairs, shift: Shift, start: Any) -> Pairs:
        def add(total: Array, made: Array) -> Array:
            lanes = _lanes_at(start, pairing)
            return operation.add(total, made, shift, lanes, step.below, step.here)

        return jax.tree.map(add, total, made)

    rows = plan.given_rows(target, step.here)
    groups = operation.groups(rows, step.here, pairing.counts[-1])
    if pairing.share is not None and rows.count // math.prod(groups) % pairing.share[1]:
        groups = (1,) * rows.ndim  # so that all have as many
    start = operation.start(step.below, step.here, pairing.counts)
    total = _zeros(start, pairing, stores, plan.has_tangent[target])
    total = each_row(plan, below, rows, pairing, stores, total, sink, target, groups)
    shape = (step.here.count, *step.here.periods, *pairing.counts)
    return total.map(lambda a: operation.finish(a, step.below).reshape(shape))


def _lanes_at(start: Any, pairing: Pairing) -> tuple[Any, ...]:
    """Where a block stands among the lanes."""
    return (start, *(0,) * (len(pairing.counts) - 1))


def _zeros(shape: tuple[int, ...], pairing: Pairing, stores: Stores, ntk: bool) -> Pairs:
    known = jax.tree.leaves((pairing.first, pairing.second, stores))
    zeros = jnp.zeros(shape, jnp.result_type(*known))
    return Pairs(zeros, zeros if ntk else None)
