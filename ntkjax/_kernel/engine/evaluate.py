"""Carry out a plan: single images first, then their pairs, tile by tile.

A call on 100 and 60 images of 32 x 32 pixels under a global pool, in tiles of 32 x 32, sees

    prepared      the batches and the kernels of single images, cut into 4 and 2 groups of images;
    tile_made     for each of 8 tiles, its kernels, (32, 32);
    finished      the tiles put together, (100, 60), as `Kernel`.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.batch import Batch, data_of_kernel
from ntkjax._kernel.algebra.boundary import stored_call
from ntkjax._kernel.algebra.diagonals import Diagonals, to_matrix
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.engine.alike import are_alike
from ntkjax._kernel.engine.contributions import ImageMaps
from ntkjax._kernel.engine.images import Own, image_maps, own_kernels
from ntkjax._kernel.engine.masks import in_layout, propagated
from ntkjax._kernel.engine.pairs import Stores
from ntkjax._kernel.engine.sweeps import Pairing, stored, swept
from ntkjax._kernel.engine.tiles import cut, exactly_symmetric, mirrored, of_tile, over_tiles
from ntkjax._kernel.plan.forecast import tiling_of
from ntkjax._kernel.plan.plan import Plan
from ntkjax._kernel.plan.resources import Resources
from ntkjax._kernel.plan.sweep import find_sweeps, sweep_of
from ntkjax._kernel.plan.tiling import Tiling

Input = tuple[Any, Any] | Kernel


def evaluate(plan: Plan, inputs: dict[int, Input], resources: Resources) -> list[Kernel]:
    """The kernels of the outputs, as one program.

    `inputs` maps each input node to its arrays or its kernel.
    """
    tiling = tiles_for(plan, inputs, resources)
    if tiling is None:
        owns = _own_kernels(plan, _batches(plan, inputs))
        pieces = _outputs(plan, _all_pairs(plan, inputs, owns), _given(inputs))
        return _kernels(plan, inputs, _matrices(plan, pieces), owns)
    owns, parts = prepared(plan, inputs, tiling)

    def compute(parts: Any, tile: Any) -> Any:
        return tile_made(plan, tiling, parts, tile)

    return finished(plan, inputs, tiling, over_tiles(tiling, compute, parts), owns)


def prepared(plan: Plan, inputs: dict[int, Input], tiling: Tiling) -> tuple[list[Own], Any]:
    """What belongs to single images: their kernels with themselves, and both sides' tiles."""
    batches = _batches(plan, inputs)
    owns = _own_kernels(plan, batches)

    def lead(side: int) -> Any:
        """What belongs to the images of a side, images in front."""
        arrays = {
            i: batch.moved(plan.nodes[i].signal.batch_axis, 0) for i, batch in batches[side].items()
        }
        own = dataclasses.replace(owns[side], outputs={})
        return arrays, own.of_images(lambda a: jnp.moveaxis(a, -1, 0))

    return owns, cut(tiling, lead(0), lead(1))


def may_be_unscaled(plan: Plan, inputs: dict[int, Input]) -> Array:
    """Whether the images are so alike that all may have scale 1; a scalar."""
    batches = _batches(plan, inputs)
    sides = 1 if plan.symmetric else 2
    return are_alike(plan, batches[:sides], plan.counts[:sides])


def tile_made(plan: Plan, tiling: Tiling, parts: Any, tile: Any) -> Any:
    """The matrices of the pairs of one tile; of a share, what the pool is made of, images in front.

    Shares are added up before what comes after the pool, which is not linear.
    """
    first, second, same = of_tile(tiling, parts, tile)

    def back(part: Any) -> tuple[dict[int, Batch], Own]:
        arrays, own = part
        batches = {
            i: batch.moved(0, plan.nodes[i].signal.batch_axis) for i, batch in arrays.items()
        }
        return batches, own.of_images(lambda a: jnp.moveaxis(a, 0, -1))

    (batch1, own1), (batch2, own2) = back(first), back(second)
    sizes = {tiling.size1, tiling.size2}  # filled up with others, second images are not the first
    alone = plan.symmetric and tiling.grid == (1, 1) and sizes == {plan.counts[0]}
    pairing = _pairing(
        plan, [batch1, batch2], [own1, own2], (tiling.size1, tiling.size2), tiling.most,
        same if plan.symmetric else None, alone,
    )  # fmt: skip
    if tiling.shares > 1:
        assert plan.joint is not None
        pairing = dataclasses.replace(pairing, share=(tile[2], tiling.shares))
        sweep = sweep_of(plan, plan.joint, pairing.counts[-1])
        rows = [swept(plan, sweep, pairing, {})[plan.joint]]
        return [piece.map(lambda a: jnp.moveaxis(a, (-2, -1), (0, 1))) for piece in rows]
    return exactly_symmetric(tiling, _matrices(plan, _outputs(plan, pairing)), tile)


def finished(
    plan: Plan, inputs: dict[int, Input], tiling: Tiling, made: Any, owns: list[Own]
) -> list[Kernel]:
    """The kernels of the outputs, of all tiles put together."""
    first, second = plan.counts
    made = jax.tree.map(lambda a: a[:first, :second], made)
    if tiling.shares == 1:
        return _kernels(plan, inputs, made, owns, is_done=tiling.symmetric)
    assert plan.joint is not None
    pairing = _all_pairs(plan, inputs, owns, tiling.most)
    (piece,) = made
    total = piece.map(lambda a: jnp.moveaxis(a, (0, 1), (-2, -1)))
    pieces = _outputs(plan, pairing, {plan.joint: stored(plan, plan.joint, total, pairing)})
    return _kernels(plan, inputs, _matrices(plan, pieces), owns)


def tiles_for(plan: Plan, inputs: dict[int, Any], resources: Resources) -> Tiling | None:
    """The tiles in which arrays are taken; None of kernels."""
    if any(isinstance(given, Kernel) for given in inputs.values()):
        return None
    return tiling_of(plan, jax.tree.leaves(inputs)[0].dtype.itemsize, resources)


def _batches(plan: Plan, inputs: dict[int, Input]) -> list[dict[int, Batch]]:
    """The inputs of the first and of the second images."""
    return [_of_side(inputs, 0), _of_side(inputs, 0 if plan.symmetric else 1)]


def _given(inputs: dict[int, Input]) -> dict[int, Kernel]:
    """The inputs that are kernels."""
    return {i: given for i, given in inputs.items() if isinstance(given, Kernel)}


def _of_side(inputs: dict[int, Input], side: int) -> dict[int, Batch]:
    """One batch of every input; of kernels, which hold both, with the covariances as `cov1`."""

    def of(item: Input) -> Batch:
        if not isinstance(item, Kernel):
            return Batch.of(item[side])
        mask = item.mask2 if side else item.mask1
        own = item.replace(cov1=item.cov2 if side else item.cov1, cov2=None)
        return Batch(own, data_of_kernel(item, side), mask)

    return {i: of(item) for i, item in inputs.items()}


def _own_kernels(plan: Plan, batches: list[dict[int, Batch]]) -> list[Own]:
    """The kernels of images with themselves, of each batch."""
    if plan.symmetric:
        return [own_kernels(plan, batches[0], plan.counts[0])] * 2
    return [own_kernels(plan, *one) for one in zip(batches, plan.counts, strict=True)]


def _pairing(
    plan: Plan,
    batches: list[dict[int, Batch]],
    owns: list[Own],
    counts: tuple[int, int],
    most: int | None,
    same: Array | None,
    is_symmetric: bool,
) -> Pairing:
    """All pairs of two batches."""
    # Of each side apart, since one of them may be a constant to whoever differentiates. Stored, or
    # XLA would make them for each pair.
    programs = {count: stored_call(functools.partial(_maps_of, plan, count)) for count in counts}

    def side(k: int) -> ImageMaps:
        maps = programs[counts[k]]([batches[k], owns[k]])
        return ImageMaps({}, {i: _turned(plan, i, of_node) for i, of_node in maps.items()})

    first = side(0)
    second = first if is_symmetric else side(1)
    return Pairing(first, second, counts, most, same, is_symmetric)


def _maps_of(plan: Plan, count: int, given: Any) -> dict[int, Any]:
    """What pairs need of the images of one side at every node."""
    batches, own = given
    known = image_maps(plan, batches, count, own)
    return {i: _turned(plan, i, maps) for i, maps in known.maps.items()}


def _turned(plan: Plan, index: int, maps: Any) -> Any:
    """Maps `[channel, image]` of an input with images first, as users lay them out, or the inverse.

    Results of a call keep the order of their axes: many channels would be turned there and back.
    """
    is_matrix = plan.nodes[index].operation.map_axes == 1 and plan.places[index].cross.ndim == 0
    return jax.tree.map(jnp.transpose, maps) if is_matrix else maps


def _all_pairs(
    plan: Plan, inputs: dict[int, Input], owns: list[Own], most: int | None = None
) -> Pairing:
    """All pairs of the images of a call."""
    same = jnp.eye(plan.counts[0], dtype=bool) if plan.symmetric else None
    owns = [dataclasses.replace(own, outputs={}) for own in owns]
    batches = _batches(plan, inputs)
    return _pairing(plan, batches, owns, plan.counts, most, same, plan.symmetric)


def _outputs(plan: Plan, pairing: Pairing, given: dict[int, Any] | None = None) -> list[Pairs]:
    """The outputs, as covariances on the diagonals held.

    `given` are nodes whose rows are known, or inputs that are kernels.
    """
    stores: Stores = {}
    for index, rows in (given or {}).items():
        operation: Any = plan.nodes[index].operation
        is_kernel = isinstance(rows, Kernel)
        seen, step = pairing.seen(index), plan.steps[index]
        stores[index] = operation.read(rows, seen, step) if is_kernel else rows
    made: Stores = {}
    for sweep in find_sweeps(plan, pairing.counts[-1], set(stores)):
        rows = swept(plan, sweep, pairing, stores)
        for index in sweep.collectors:
            made[index] = rows[index]
            if index not in plan.outputs:
                stores[index] = stored(plan, index, rows[index], pairing)
    return [made[index] for index in plan.outputs]


def _matrices(plan: Plan, pieces: list[Pairs]) -> list[dict[str, Array]]:
    """Of each output the kernels of pairs that were asked for, by name, in the users' layout."""

    def of_output(index: int, pairs: Pairs) -> dict[str, Array]:
        rows = {
            "nngp": pairs.moment if plan.request.nngp else None,
            "ntk": pairs.ntk,
            "distance": pairs.distance,
        }
        cross = plan.places[index].cross
        return {
            k: _in_users_layout(plan, index, a, cross) for k, a in rows.items() if a is not None
        }

    return [of_output(index, piece) for index, piece in zip(plan.outputs, pieces, strict=True)]


def _in_users_layout(plan: Plan, index: int, rows: Array, diagonals: Diagonals) -> Array:
    """Diagonals of an output, with images last, as images and then pairs of positions."""
    if not _has_equal_positions(plan, index):
        return to_matrix(rows, diagonals)
    image = rows[diagonals.row_index((0,) * diagonals.ndim)][diagonals.crop]
    ndim = diagonals.ndim
    return image.transpose(*range(ndim, image.ndim), *range(ndim))


def _has_equal_positions(plan: Plan, index: int) -> bool:
    """Whether an output has positions, of which equal ones were asked for."""
    return plan.request.diagonal_spatial and bool(plan.nodes[index].signal.sizes)


def _kernels(
    plan: Plan,
    inputs: dict[int, Input],
    matrices: list[dict[str, Array]],
    owns: list[Own],
    *,
    is_done: bool = False,
) -> list[Kernel]:
    """The kernels of the outputs; `is_done` says that these are exactly symmetric already."""
    pairs = zip(plan.outputs, matrices, strict=True)
    kernels = [_kernel(plan, index, of_pairs, owns, is_done) for index, of_pairs in pairs]
    masks = [propagated(plan, batches) for batches in _batches(plan, inputs)]
    if not masks[0]:
        return kernels
    first, second = (
        [in_layout(of_side[i], plan.nodes[i].signal) for i in plan.outputs] for of_side in masks
    )
    return [
        kernel.replace(mask1=one, mask2=None if plan.symmetric else two)
        for kernel, one, two in zip(kernels, first, second, strict=True)
    ]


def _kernel(
    plan: Plan, index: int, matrices: dict[str, Array], owns: list[Own], is_done: bool
) -> Kernel:
    """The kernel of an output."""
    equal = _has_equal_positions(plan, index)
    if plan.symmetric and not is_done:
        # Of a batch with itself exactly symmetric, though its entries are rounded apart.
        matrices = {name: mirrored(a, positions=not equal) for name, a in matrices.items()}

    def own(side: int) -> Array | None:
        rows = owns[side].outputs.get(index)
        if rows is None:
            return None
        return _in_users_layout(plan, index, rows, plan.of_images.places[index].cross)

    return Kernel.of_signal(
        plan.nodes[index].signal,
        diagonal_spatial=equal,
        **{"nngp": None, "ntk": None, **matrices},
        cov1=own(0),
        cov2=None if plan.symmetric else own(1),
        x1_is_x2=jnp.asarray(plan.symmetric),
    )
