"""What belongs to single images: variances at every place, and their kernels with themselves.

They are made once per image, not once per pair.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.algebra.boundary import materialized
from ntkjax._kernel.algebra.diagonals import to_matrix
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.operation import MixingOperation, RowOperation
from ntkjax._kernel.algebra.state import NO_HALO, Pairs
from ntkjax._kernel.engine.contributions import ImageMaps, Maps
from ntkjax._kernel.engine.inputs import by_position
from ntkjax._kernel.engine.pairs import Stores
from ntkjax._kernel.engine.rows import Pairing, covariance_rows, mixed_rows
from ntkjax._kernel.operations.custom import Custom, distances, rows_of_matrix
from ntkjax._kernel.plan.plan import Plan
from ntkjax._kernel.plan.runs import Run, find_runs

Input = Array | Kernel


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Own:
    """Kernels of the images of one batch with themselves.

    Attributes:
      rows: where several diagonals are held, `[row, position per axis ..., image]`; of pools as
        they left them, without the correction by energies.
      variances: at inputs that are kernels, and after the layers of users.
      matrices: what the layers of users are given, `[image, p1, q1, p2, q2, ...]`.
      outputs: at the outputs, as covariances, `[row, position per axis ..., image]`.
    """

    rows: Stores
    variances: dict[int, Array]
    matrices: dict[int, Array]
    outputs: dict[int, Array]

    def of_images(self, take: Any) -> "Own":
        """These of some images only: `take` picks them along the axis it is told."""
        by_last = jax.tree.map(lambda a: take(a, -1), (self.rows, self.variances, self.outputs))
        matrices = jax.tree.map(lambda a: take(a, 0), self.matrices)
        return Own(by_last[0], by_last[1], matrices, by_last[2])

    def joined(self, other: "Own") -> "Own":
        """These of two batches, without what only outputs need."""

        def join(axis: int) -> Any:
            return lambda a, b: jnp.concatenate([a, b], axis)

        rows = jax.tree.map(join(-1), self.rows, other.rows)
        variances = jax.tree.map(join(-1), self.variances, other.variances)
        return Own(rows, variances, jax.tree.map(join(0), self.matrices, other.matrices), {})


def own_kernels(plan: Plan, inputs: dict[int, Input], count: int) -> Own:
    """The kernels of `count` images with themselves, where they are needed.

    Of an input that is a kernel, its `cov1` holds those of all images.
    """
    plan = plan.of_images()
    own = Own({}, {}, {}, {})
    maps: Maps = {}
    runs = find_runs(plan)
    done = -1
    for index, node in enumerate(plan.nodes):
        if index <= done:
            continue
        if index in runs:
            add_run(plan, runs[index], maps)
            done = index = runs[index].last
            _keep_output(own, plan, index, maps, count)
            continue
        held, operation = plan.held[index], node.operation
        pairing = Pairing(maps, maps, (count,))
        if isinstance(operation, MixingOperation) and held.own is not None:
            own.rows[index] = mixed_rows(plan, index, pairing, own.rows)
        kernel = inputs.get(index)
        if isinstance(kernel, Kernel):
            _keep_covariance(own, plan, index, kernel.cov1)
        elif isinstance(operation, Custom):
            (below,) = node.inputs
            given = plan.held[below].cross.all()
            rows = covariance_rows(plan, below, given, pairing, own.rows)
            own.matrices[index] = to_matrix(rows.moment, given)
            cov = operation.of_images(own.matrices[index], plan.nodes[below].signal)
            _keep_covariance(own, plan, index, cov)
        maps[index] = node_maps(plan, index, inputs, maps, own)
        _keep_output(own, plan, index, maps, count)
    return own


def _keep_output(own: Own, plan: Plan, index: int, maps: Maps, count: int) -> None:
    """Make the kernels of images with themselves that are asked for at an output."""
    rows = plan.held[index].own
    if index in plan.outputs and rows is not None:
        pairing = Pairing(maps, maps, (count,))
        own.outputs[index] = covariance_rows(plan, index, rows, pairing, own.rows).moment


def _keep_covariance(own: Own, plan: Plan, index: int, cov: Array | None) -> None:
    """Note the covariance of images with themselves, `[image, p1, q1, ...]`, of a full kernel."""
    held = plan.held[index]
    if held.in_distances:
        own.variances[index] = rows_of_matrix(cov, "cov1", held.cross.zero())[0]
    if held.own is not None:
        rows = rows_of_matrix(cov, "cov1", held.own)
        if held.in_distances:
            var = own.variances[index]
            rows = distances(rows, held.own, var, var)
        own.rows[index] = Pairs(rows)


def image_maps(plan: Plan, inputs: dict[int, Input], own: Own) -> Maps:
    """The maps of images, at every node."""
    plan = plan.of_images(tangents=True)
    maps: Maps = {}
    runs = find_runs(plan)
    done = -1
    for index in range(len(plan.nodes)):
        if index in runs:
            add_run(plan, runs[index], maps)
            done = runs[index].last
        elif index > done:
            maps[index] = node_maps(plan, index, inputs, maps, own)
    return maps


def add_run(plan: Plan, run: Run, maps: Maps) -> None:
    """The maps of a run of equal blocks, as a loop; their repetitions come in front."""
    start = maps[run.entry].variance
    assert start is not None

    def body(var: Array, operations: dict[int, RowOperation]) -> tuple[Array, Any]:
        variances = {run.entry: var}
        seen = {}
        for i, operation in operations.items():
            given = tuple(variances[j] for j in plan.nodes[i].inputs)
            seen[i] = operation.maps(given[0], plan.step(i))
            variances[i] = operation.variance(given, plan.step(i))
        return variances[run.block[-1]], seen

    end, seen = lax.scan(body, start, run.operations(plan, start.dtype))
    for i, of_node in seen.items():
        maps[i] = ImageMaps(operation=of_node)
    maps[run.last] = ImageMaps(variance=end)


def node_maps(plan: Plan, index: int, inputs: dict[int, Input], maps: Maps, own: Own) -> ImageMaps:
    """The maps of images at one node, from those before it."""
    node, held, step = plan.nodes[index], plan.held[index], plan.step(index)
    operation = node.operation
    if operation is None and not isinstance(inputs[index], Kernel):
        images = by_position(inputs[index], node.signal, held.cross)  # type: ignore[arg-type]
        var = jnp.mean(jnp.square(images), axis=0) if held.in_distances else None
        return ImageMaps(variance=var, images=images)
    if isinstance(operation, RowOperation):
        return _row_maps(plan, index, operation, maps)
    if not held.in_distances:
        return ImageMaps()
    if isinstance(operation, MixingOperation):
        var = maps[node.inputs[0]].variance
        assert var is not None
        mean = operation.positions(var, step.below, step.here)
        zero = held.cross.row_index((0,) * held.cross.ndim)
        energy = 0.5 * own.rows[index].moment[zero]
        mass = jnp.asarray(operation.mass(step.below, step.here), mean.dtype)
        mass = jnp.broadcast_to(mass[..., None], mean.shape)
        return ImageMaps(mass * mean - energy, mixing=(energy, mean, mass))
    return ImageMaps(variance=own.variances[index])


def _row_maps(plan: Plan, index: int, operation: RowOperation, maps: Maps) -> ImageMaps:
    """The maps that an operation on rows needs of an image, and its variance after it."""
    node, step = plan.nodes[index], plan.step(index)
    given = tuple(maps[j].variance for j in node.inputs)
    known = step.in_distances or operation.needs_distance
    seen = operation.maps(given[0] if known else None, step)
    if not step.in_distances:
        return ImageMaps(operation=seen)

    def variance(given: tuple[Array, ...]) -> Array:
        return operation.variance(given, step)

    first = given[0]
    assert first is not None
    if operation.halo(step.below, step.here) == NO_HALO * step.below.ndim:
        return ImageMaps(variance(given), operation=seen)  # type: ignore[arg-type]
    return ImageMaps(materialized(variance, given), operation=seen)
