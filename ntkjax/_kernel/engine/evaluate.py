"""Carry out a plan: single images first, then their pairs, tile by tile."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.algebra.boundary import materialized
from ntkjax._kernel.algebra.diagonals import to_matrix
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.lanes import Lanes
from ntkjax._kernel.algebra.operation import MixingOperation
from ntkjax._kernel.algebra.state import FIRST, SECOND, Pairs
from ntkjax._kernel.engine.contributions import Maps
from ntkjax._kernel.engine.images import Own, image_maps, own_kernels
from ntkjax._kernel.engine.pairs import Stores
from ntkjax._kernel.engine.rows import Pairing, covariance_rows, mixed_rows
from ntkjax._kernel.engine.tiles import cut, of_tile, over_tiles
from ntkjax._kernel.operations.custom import Custom, distances, rows_of_matrix
from ntkjax._kernel.plan.forecast import tiling_of
from ntkjax._kernel.plan.plan import Plan
from ntkjax._kernel.plan.resources import Resources
from ntkjax._kernel.plan.tiling import Tiling

Input = tuple[Array, Array | None] | Kernel


def evaluate(plan: Plan, inputs: dict[int, Input], resources: Resources) -> list[Kernel]:
    """The kernels of the outputs, as one program.

    `inputs` maps each input node to its arrays or its kernel.
    """
    tiling = tiles_for(plan, inputs, resources)
    if tiling is None:
        owns = _own_kernels(plan, _batches(plan, inputs))
        pairing = _all_pairs(plan, inputs, owns)
        pieces = _outputs(plan, pairing, _stores(plan, pairing, inputs, owns))
        return _kernels(plan, pieces, owns)
    owns, parts = prepared(plan, inputs, tiling)

    def compute(parts: Any, tile: Any) -> list[Pairs]:
        return tile_made(plan, tiling, parts, tile)

    made = over_tiles(tiling, compute, parts, resources.devices)
    return finished(plan, inputs, tiling, made, owns)


def prepared(plan: Plan, inputs: dict[int, Input], tiling: Tiling) -> tuple[list[Own], Any]:
    """What belongs to single images: their kernels with themselves, and both sides' tiles."""
    batches = _batches(plan, inputs)
    owns = _own_kernels(plan, batches)

    def lead(side: int) -> Any:
        """What belongs to the images of a side, images in front."""
        arrays = {
            i: jnp.moveaxis(array, plan.nodes[i].signal.batch_axis, 0)
            for i, array in batches[side].items()
        }
        return arrays, owns[side].of_images(lambda a, axis: jnp.moveaxis(a, axis, 0))

    return owns, cut(tiling, lead(0), lead(1))


def tile_made(plan: Plan, tiling: Tiling, parts: Any, tile: Any) -> list[Pairs]:
    """The outputs for the pairs of one tile, images in front; of a share, what the pool is made of.

    Shares are added up before what comes after the pool, which is not linear.
    """
    first, second, same = of_tile(tiling, parts, tile)

    def back(part: Any) -> tuple[dict[int, Any], Own]:
        arrays, own = part
        batch = {
            i: jnp.moveaxis(array, 0, plan.nodes[i].signal.batch_axis)
            for i, array in arrays.items()
        }
        return batch, own.of_images(lambda a, axis: jnp.moveaxis(a, 0, axis))

    (batch1, own1), (batch2, own2) = back(first), back(second)
    pairing = _pairing(
        plan, [batch1, batch2], [own1, own2], (tiling.size1, tiling.size2), tiling.most,
        same if plan.symmetric else None,
    )  # fmt: skip
    if tiling.shares > 1:
        assert plan.joint is not None
        pairing = dataclasses.replace(pairing, share=(tile[2], tiling.shares))
        rows = [mixed_rows(plan, plan.joint, pairing, {})]
    else:
        rows = _outputs(plan, pairing, _stores(plan, pairing))
    return [piece.map(lambda a: jnp.moveaxis(a, (-2, -1), (0, 1))) for piece in rows]


def finished(
    plan: Plan, inputs: dict[int, Input], tiling: Tiling, made: list[Pairs], owns: list[Own]
) -> list[Kernel]:
    """The kernels of the outputs, of all tiles put together."""
    first, second = plan.counts

    def back(array: Array) -> Array:
        return jnp.moveaxis(array[:first, :second], (0, 1), (-2, -1))

    pieces = [piece.map(back) for piece in made]
    if tiling.shares > 1:
        assert plan.joint is not None
        pairing = _all_pairs(plan, inputs, owns, tiling.most)
        pieces = _outputs(plan, pairing, {plan.joint: pieces[0]})
    return _kernels(plan, pieces, owns)


def tiles_for(plan: Plan, inputs: dict[int, Any], resources: Resources) -> Tiling | None:
    """The tiles in which arrays are taken; None of kernels, or with a user's own layers."""
    if not plan.is_streamed or any(isinstance(given, Kernel) for given in inputs.values()):
        return None
    return tiling_of(plan, jax.tree.leaves(inputs)[0].dtype.itemsize, resources)


def _batches(plan: Plan, inputs: dict[int, Input]) -> list[dict[int, Any]]:
    """The inputs of the first and of the second images."""
    return [_of_side(inputs, 0), _of_side(inputs, 0 if plan.symmetric else 1)]


def _kernels(plan: Plan, pieces: list[Pairs], owns: list[Own]) -> list[Kernel]:
    return [
        _kernel(plan, index, piece, owns) for index, piece in zip(plan.outputs, pieces, strict=True)
    ]


def _of_side(inputs: dict[int, Input], side: int) -> dict[int, Any]:
    """The arrays of one batch; of kernels, which hold both, the covariances as `cov1`."""

    def of(item: Input) -> Any:
        if not isinstance(item, Kernel):
            return item[side]
        return item.replace(cov1=item.cov2 if side else item.cov1, cov2=None)

    return {i: of(item) for i, item in inputs.items()}


def _together(plan: Plan, batches: list[dict[int, Any]]) -> dict[int, Any]:
    """Both batches as one: what belongs to single images is one program for all of them."""

    def join(i: int) -> Any:
        first, second = (batch[i] for batch in batches)
        if not isinstance(first, Kernel):
            return jnp.concatenate([first, second], plan.nodes[i].signal.batch_axis)
        if first.cov1 is None or second.cov1 is None:
            return first.replace(cov1=None)
        return first.replace(cov1=jnp.concatenate([first.cov1, second.cov1]))

    return {i: join(i) for i in batches[0]}


def _own_kernels(plan: Plan, batches: list[dict[int, Any]]) -> list[Own]:
    """The kernels of images with themselves, of each batch."""
    counts = plan.counts
    if plan.symmetric:
        return [own_kernels(plan, batches[0], counts[0])] * 2
    own = own_kernels(plan, _together(plan, batches), sum(counts))
    edges = (0, counts[0]), (counts[0], sum(counts))
    return [
        own.of_images(lambda a, axis, e=edge: lax.slice_in_dim(a, *e, axis=axis % a.ndim))
        for edge in edges
    ]


def _pairing(
    plan: Plan,
    batches: list[dict[int, Any]],
    owns: list[Own],
    counts: tuple[int, int],
    most: int | None,
    same: Array | None,
) -> Pairing:
    """All pairs of two batches."""

    def of_images(given: Any) -> Maps:
        batches, owns = given
        return image_maps(plan, _together(plan, batches), owns[0].joined(owns[1]))

    # Stored, or XLA would make them for each side apart.
    maps = materialized(of_images, (batches, owns))
    first, second = (
        jax.tree.map(lambda a, side=side: a[..., side], maps)
        for side in (slice(counts[0]), slice(counts[0], None))
    )
    return Pairing(first, second, counts, most, same)


def _all_pairs(
    plan: Plan, inputs: dict[int, Input], owns: list[Own], most: int | None = None
) -> Pairing:
    """All pairs of the images of a call."""
    same = jnp.eye(plan.counts[0], dtype=bool) if plan.symmetric else None
    return _pairing(plan, _batches(plan, inputs), owns, plan.counts, most, same)


def _stores(
    plan: Plan,
    pairing: Pairing,
    kernels: dict[int, Any] | None = None,
    owns: Sequence[Own] = (),
) -> Stores:
    """The nodes that are held on several diagonals; `kernels` are inputs that are such already."""
    stores: Stores = {}
    for index, node in enumerate(plan.nodes):
        kernel = (kernels or {}).get(index)
        if isinstance(kernel, Kernel):
            stores[index] = _rows_of_kernel(plan, index, kernel, pairing)
        elif isinstance(node.operation, MixingOperation):
            stores[index] = mixed_rows(plan, index, pairing, stores)
        elif isinstance(node.operation, Custom):
            given = _given_kernel(plan, index, pairing, stores, owns)
            made = node.operation.apply(given)
            stores[index] = _rows_of_kernel(plan, index, made, pairing)
    return stores


def _outputs(plan: Plan, pairing: Pairing, stores: Stores) -> list[Pairs]:
    """The outputs, as covariances on the diagonals held."""
    return [
        covariance_rows(plan, index, plan.held[index].cross, pairing, stores)
        for index in plan.outputs
    ]


def _rows_of_kernel(plan: Plan, index: int, kernel: Kernel, pairing: Pairing) -> Pairs:
    """The diagonals held at a node, of a full kernel."""
    held = plan.held[index]
    moment = rows_of_matrix(kernel.nngp, "nngp", held.cross)
    if held.in_distances and kernel.distance is not None:
        moment = rows_of_matrix(kernel.distance, "distance", held.cross)
    elif held.in_distances:
        first, second = pairing.first[index].variance, pairing.second[index].variance
        assert first is not None
        assert second is not None
        lanes = Lanes(pairing.counts)
        variances = lanes.spread(first, FIRST), lanes.spread(second, SECOND)
        moment = distances(moment, held.cross, *variances)
        if pairing.same is not None:
            zero = held.cross.row_index((0,) * held.cross.ndim)
            moment = moment.at[zero].set(jnp.where(pairing.same, 0.0, moment[zero]))
    if not plan.request.ntk:
        return Pairs(moment)
    return Pairs(moment, rows_of_matrix(kernel.ntk, "ntk", held.cross))


def _given_kernel(
    plan: Plan, index: int, pairing: Pairing, stores: Stores, owns: Sequence[Own]
) -> Kernel:
    """The full kernel that a user's layer is given."""
    (below,) = plan.nodes[index].inputs
    rows = plan.held[below].cross.all()
    pairs = covariance_rows(plan, below, rows, pairing, stores).map(lambda a: to_matrix(a, rows))
    return Kernel.of_signal(
        plan.nodes[below].signal,
        nngp=pairs.moment,
        ntk=pairs.ntk,
        cov1=owns[0].matrices[index],
        cov2=None if plan.symmetric else owns[1].matrices[index],
        x1_is_x2=jnp.asarray(plan.symmetric),
    )


def _kernel(plan: Plan, index: int, pairs: Pairs, owns: list[Own]) -> Kernel:
    """The kernel of an output, in the layout that users see."""
    held, signal = plan.held[index], plan.nodes[index].signal
    equal = plan.request.diagonal_spatial and bool(signal.sizes)

    def layout(rows: Array | None, diagonals: Any) -> Array | None:
        if rows is None:
            return None
        if not equal:
            return to_matrix(rows, diagonals)
        image = rows[diagonals.row_index((0,) * diagonals.ndim)][diagonals.crop]
        ndim = diagonals.ndim
        return image.transpose(*range(ndim, image.ndim), *range(ndim))

    def own(side: int) -> Array | None:
        rows = owns[side].outputs.get(index)
        return None if rows is None else layout(rows, plan.of_images().held[index].cross)

    return Kernel.of_signal(
        signal,
        diagonal_spatial=equal,
        nngp=layout(pairs.moment, held.cross),
        ntk=layout(pairs.ntk, held.cross),
        cov1=own(0),
        cov2=None if plan.symmetric else own(1),
        x1_is_x2=jnp.asarray(plan.symmetric),
    )
