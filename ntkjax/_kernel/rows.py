"""Diagonals of one place of the network, for a block of images: the inner loops of the engine.

For each diagonal, what single images contribute is made once for the whole tile; then its pairs are
made block by block, and each block's row goes at once where it belongs.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.boundary import materialized
from ntkjax._kernel.contributions import Maps, contributions, laid_out
from ntkjax._kernel.diagonals import Diagonals, Shift
from ntkjax._kernel.operation import MixingOperation
from ntkjax._kernel.pairs import Stores, cropped, loaded, pairs_of
from ntkjax._kernel.plan import Plan
from ntkjax._kernel.segment import Segment
from ntkjax._kernel.state import FIRST, NO_HALO, SECOND, Halo, Pairs, Row, covariance


@dataclasses.dataclass(frozen=True)
class Pairing:
    """Which images are paired: of two batches, or each image of a batch with itself.

    Attributes:
      first: maps of the first images, their lanes made to broadcast against those of the pairs.
      second: the same of the second images.
      lanes: the shape of the lanes of the pairs.
      block: how many first images to take at a time, a divisor of their number; None for an image
        with itself.
      same: which pairs are of one image with itself, if any may be.
    """

    first: Maps
    second: Maps
    lanes: tuple[int, ...]
    block: int | None = None
    same: Array | None = None


#: Puts a row of a block of pairs where it belongs: from the total so far, the row, its displacement
#: and the place of the block among the first images.
Sink = Callable[[Pairs, Pairs, Shift, Any], Pairs]


def each_row(
    plan: Plan,
    target: int,
    rows: Diagonals,
    pairing: Pairing,
    stores: Stores,
    total: Pairs,
    sink: Sink,
    consumer: int | None = None,
) -> Pairs:
    """Hand every one of some diagonals of a node to `sink`.

    They come as covariances with whole tangents, unless they go to a consumer which takes them as
    they are held.
    """
    shifts = rows.displacements()
    as_held = consumer is not None and not plan.is_converted(consumer, target)
    halo: Halo = NO_HALO * rows.ndim
    if consumer is not None:
        operation = plan.nodes[consumer].operation
        assert operation is not None
        halo = operation.halo(plan.held[target].cross, plan.held[consumer].cross)
    only = len(shifts) == 1
    known: Shift = tuple(map(int, shifts[0])) if only else tuple(shifts.T)
    sides, maps = (FIRST, SECOND), (pairing.first, pairing.second)
    everywhere = Segment.to(plan, target, known)
    given = [laid_out(everywhere, m, side) for m, side in zip(maps, sides, strict=True)]
    variances = None
    if not as_held and plan.held[target].in_distances:
        variances = [
            side.laid_out(m[target].variance, Row(rows, known), halo)
            for m, side in zip(maps, sides, strict=True)
        ]

    def one(total: Pairs, shift: Shift) -> Pairs:
        segment = Segment.to(plan, target, shift)
        # Stored, or XLA would make them anew for every image.
        masks = materialized(lambda _: segment.masks(), jax.tree.leaves(given)[:1])
        first, second = (
            contributions(segment, of_side, masks, side)
            for of_side, side in zip(given, sides, strict=True)
        )
        ends = variances and [
            side.see(var, Row(rows, shift), halo)
            for var, side in zip(variances, sides, strict=True)
        ]
        parts = loaded(segment, stores), first, ends, pairing.same

        def of_block(parts: Any, second: Any) -> Pairs:
            given, first, ends, same = parts
            pairs = pairs_of(segment, given, masks, first, second, same)
            pairs = cropped(plan, target, pairs, halo)
            return _covariances(plan, target, pairs, *ends) if ends else pairs

        return _each_block(of_block, parts, second, total, sink, shift, pairing)

    if only:
        return one(total, known)
    # Backwards, a row is made again: kept, the rows would be all pairs of positions.
    body = jax.checkpoint(lambda total, shift: (one(total, tuple(shift)), None))
    return lax.scan(body, total, jnp.asarray(shifts))[0]


def _each_block(
    of_block: Callable[..., Pairs],
    parts: Any,
    second: Any,
    total: Pairs,
    sink: Sink,
    shift: Shift,
    pairing: Pairing,
) -> Pairs:
    """Make a row block by block of first images."""
    block = pairing.block
    if block is None or block >= pairing.lanes[0]:
        return sink(total, of_block(parts, second), shift, 0)

    def body(total: Pairs, start: Array) -> tuple[Pairs, None]:
        def cut(array: Array) -> Array:
            if array.ndim < 2 or array.shape[-2] == 1:
                return array  # belongs to second images alone
            return lax.dynamic_slice_in_dim(array, start, block, -2)

        return sink(total, of_block(jax.tree.map(cut, parts), second), shift, start), None

    starts = jnp.arange(0, pairing.lanes[0], block)
    return lax.scan(jax.checkpoint(body), total, starts)[0]


def _covariances(plan: Plan, target: int, pairs: Pairs, first: Array, second: Array) -> Pairs:
    """Covariances of distances, and whole tangents."""
    cov = covariance(first, second, pairs.moment)
    if not plan.held[target].is_excess:
        return Pairs(cov, pairs.ntk)
    return Pairs(cov, cov if pairs.ntk is None else pairs.ntk + cov)


def covariance_rows(
    plan: Plan, target: int, rows: Diagonals, pairing: Pairing, stores: Stores
) -> Pairs:
    """Several diagonals of a node, with an axis in front, as covariances."""
    shape = (rows.count, *rows.periods, *pairing.lanes)
    wanted = plan.request.ntk

    def sink(total: Pairs, row: Pairs, shift: Shift, start: Any) -> Pairs:
        def put(total: Array, row: Array) -> Array:
            at = (rows.row_index(shift), *(0,) * rows.ndim, *_lanes_at(start, pairing))
            return lax.dynamic_update_slice(total, row[None], at)

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

    def sink(total: Pairs, row: Pairs, shift: Shift, start: Any) -> Pairs:
        def add(total: Array, row: Array) -> Array:
            lanes = _lanes_at(start, pairing)
            return operation.add(total, row, shift, lanes, step.below, step.here)

        return jax.tree.map(add, total, row)

    start = operation.start(step.below, step.here, pairing.lanes)
    total = _zeros(start, pairing, stores, plan.held[target].has_tangent)
    rows = plan.given_rows(target, step.here)
    total = each_row(plan, below, rows, pairing, stores, total, sink, target)
    shape = (step.here.count, *step.here.periods, *pairing.lanes)
    return total.map(lambda a: operation.finish(a, step.below).reshape(shape))


def _lanes_at(start: Any, pairing: Pairing) -> tuple[Any, ...]:
    """Where a block stands among the lanes."""
    return (start, *(0,) * (len(pairing.lanes) - 1))


def _zeros(shape: tuple[int, ...], pairing: Pairing, stores: Stores, ntk: bool) -> Pairs:
    known = jax.tree.leaves((pairing.first, pairing.second, stores))
    zeros = jnp.zeros(shape, jnp.result_type(*known))
    return Pairs(zeros, zeros if ntk else None)
