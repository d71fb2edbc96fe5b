"""Diagonals of one place of the network, for a block of images: the inner loops of the engine."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.diagonals import Diagonals, Shift
from ntkjax._kernel.operation import MixingOperation
from ntkjax._kernel.plan import Plan
from ntkjax._kernel.segment import Maps, Segment, Stores
from ntkjax._kernel.state import FIRST, SECOND, Pairs, covariance


@dataclasses.dataclass(frozen=True)
class Pairing:
    """Which images are paired: of two batches, or each image of a batch with itself.

    Attributes:
      first: maps of the first images, their lanes made to broadcast against those of the pairs.
      second: the same of the second images.
      lanes: the shape of the lanes of the pairs.
      block: how many first images to take at a time; None for an image with itself.
      same: which pairs are of one image with itself, if any may be.
    """

    first: Maps
    second: Maps
    lanes: tuple[int, ...]
    block: int | None = None
    same: Array | None = None


def make_row(plan: Plan, target: int, shift: Shift, pairing: Pairing, stores: Stores) -> Pairs:
    """One diagonal of a node, of all pairs."""
    segment = Segment.below(plan, target, shift)
    masks = segment.masks()
    second = segment.contributions(_only(segment, pairing.second), SECOND)

    def of_block(first: Maps, stores: Stores, same: Array | None) -> Pairs:
        return segment.pairs(stores, masks, segment.contributions(first, FIRST), second, same)

    first = _only(segment, pairing.first)
    stores = {i: stores[i] for i in segment.order if i in stores}
    count, block = pairing.lanes[0], pairing.block
    if block is None or block >= count:
        return of_block(first, stores, pairing.same)
    blocks = -(-count // block)

    def split(array: Array, axis: int) -> Array:
        """Cut the axis of first images into blocks, in front."""
        axis %= array.ndim
        pad = [(0, 0)] * array.ndim
        pad[axis] = (0, blocks * block - count)
        array = jnp.pad(array, pad) if blocks * block > count else array
        shape = (*array.shape[:axis], blocks, block, *array.shape[axis + 1 :])
        return jnp.moveaxis(array.reshape(shape), axis, 0)

    parts = jax.tree.map(lambda a: split(a, -2), (first, stores, pairing.same))
    made = lax.map(lambda part: of_block(*part), parts)

    def join(array: Array) -> Array:
        array = jnp.moveaxis(array, 0, -3)
        shape = (*array.shape[:-3], blocks * block, array.shape[-1])
        return array.reshape(shape)[..., :count, :]

    return made.map(join)


def _only(segment: Segment, maps: Maps) -> Maps:
    """The maps of the nodes of a segment."""
    return {i: maps[i] for i in segment.rows if i in maps}


def covariance_row(
    plan: Plan, target: int, shift: Shift, pairing: Pairing, stores: Stores
) -> Pairs:
    """One diagonal of a node, of all pairs, as covariances."""
    pairs = make_row(plan, target, shift, pairing, stores)
    if not plan.held[target].in_distances:
        return pairs
    first = FIRST.see(pairing.first[target].variance, shift)
    second = SECOND.see(pairing.second[target].variance, shift)
    return Pairs(covariance(first, second, pairs.moment), pairs.ntk)


def covariance_rows(
    plan: Plan, target: int, rows: Diagonals, pairing: Pairing, stores: Stores
) -> Pairs:
    """Several diagonals of a node, with an axis in front, as covariances."""
    shifts = rows.displacements()

    def one(shift: Shift) -> Pairs:
        return covariance_row(plan, target, shift, pairing, stores)

    if len(shifts) == 1:
        return one(tuple(map(int, shifts[0]))).map(lambda a: a[None])
    return lax.map(jax.checkpoint(lambda row: one(tuple(row))), jnp.asarray(shifts))


def mixed_rows(plan: Plan, target: int, pairing: Pairing, stores: Stores) -> Pairs:
    """All diagonals that a mixing node holds: the input diagonals, one at a time, added up."""
    operation = plan.nodes[target].operation
    assert isinstance(operation, MixingOperation)
    (below,) = plan.nodes[target].inputs
    step = plan.step(target)
    make = covariance_row if plan.is_converted(target, below) else make_row

    def row_of_input(shift: Shift) -> Pairs:
        return make(plan, below, shift, pairing, stores)

    def add(total: Pairs, row: Pairs, shift: Shift) -> Pairs:
        def add_one(total: Array, row: Array) -> Array:
            return operation.add(total, row, shift, step.below, step.here)

        return jax.tree.map(add_one, total, row)

    shifts = plan.given_rows(target, step.here).displacements()
    start = tuple(map(int, shifts[0]))
    shape = jax.eval_shape(lambda: row_of_input(start))
    total = shape.map(lambda a: operation.start(step.here, pairing.lanes, a.dtype))
    if len(shifts) == 1:
        total = add(total, row_of_input(start), start)
    else:
        # Backwards, a row is made again: kept, the rows would be all pairs of positions.
        again = jax.checkpoint(lambda row: row_of_input(tuple(row)))
        total, _ = lax.scan(
            lambda total, row: (add(total, again(row), tuple(row)), None),
            total,
            jnp.asarray(shifts),
        )
    return total.map(lambda a: a.reshape(step.here.count, *step.here.periods, *pairing.lanes))
