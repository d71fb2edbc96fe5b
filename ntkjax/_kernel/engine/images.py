"""What belongs to single images: variances and scales at every place, kernels with themselves.

They are made once per image, not once per pair.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.algebra.batch import Batch
from ntkjax._kernel.algebra.image import MASK, Ahead, Image
from ntkjax._kernel.algebra.operation import Context
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.engine.contributions import ImageMaps
from ntkjax._kernel.engine.masks import propagated
from ntkjax._kernel.engine.pairs import Stores
from ntkjax._kernel.engine.sweeps import Pairing, stored, swept
from ntkjax._kernel.plan.plan import Plan
from ntkjax._kernel.plan.runs import Run, find_runs
from ntkjax._kernel.plan.sweep import find_sweeps, sweep_of


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Own:
    """The kernels of the images of one batch with themselves, and what is made of them.

    Attributes:
      images: what belongs to the images after each collector.
      maps: what pairs need of them there.
      outputs: at the outputs, as covariances, `[row, position per axis ..., image]`.
    """

    images: dict[int, Image]
    maps: dict[int, Any]
    outputs: dict[int, Array]

    def of_images(self, take: Callable[[Array], Array]) -> "Own":
        """These of some images only: `take` picks them along the last axis."""
        return jax.tree.map(take, self)


def own_kernels(plan: Plan, inputs: dict[int, Batch], count: int) -> Own:
    """The kernels of `count` images with themselves, where they are needed.

    Of an input that is a kernel, its `cov1` holds those of all images.
    """
    plan = plan.of_images
    own = Own({}, {}, {})
    rows: Stores = {}

    def collector(index: int, known: ImageMaps) -> None:
        """Make the rows of a collector, and what belongs to images after it."""
        if index in plan.outputs:
            return
        made, pairing = None, _with_themselves(known, count)
        is_held = plan.places[index].own is not None
        if is_held or plan.nodes[index].operation.needs_self:
            made = swept(plan, sweep_of(plan, index, count), pairing, rows)[index]
        own.images[index], own.maps[index] = _of_node(plan, index, known, count, None, made)
        known.images[index], known.maps[index] = own.images[index], own.maps[index]
        if is_held and made is not None:
            rows[index] = stored(plan, index, made, pairing)

    def kernel_input(index: int, known: ImageMaps) -> None:
        if plan.places[index].own is not None:
            operation: Any = plan.nodes[index].operation
            cov, side = inputs[index].numbers, known.maps[index]
            rows[index] = operation.read_own(cov, side, plan.steps[index])

    pairing = _with_themselves(image_maps(plan, inputs, count, own, collector, kernel_input), count)
    # Together, so that what is below several outputs is made once.
    done = {*plan.collectors, *(i for i in plan.outputs if plan.places[i].own is None)}
    for sweep in find_sweeps(plan, count, done):
        made = swept(plan, sweep, pairing, rows)
        own.outputs.update({i: made[i].moment for i in sweep.collectors})
    return own


def _with_themselves(known: ImageMaps, count: int) -> Pairing:
    """The images of a batch, each with itself."""
    return Pairing(known, known, (count,), same=jnp.ones(count, bool))


def image_maps(
    plan: Plan,
    inputs: dict[int, Batch],
    count: int,
    own: Own,
    collector: Callable[[int, ImageMaps], None] | None = None,
    kernel_input: Callable[[int, ImageMaps], None] | None = None,
    end: int | None = None,
) -> ImageMaps:
    """What belongs to `count` images at every node (before node `end`).

    After collectors it is known from `own`, unless `collector` makes it.
    """
    known = ImageMaps({}, {})
    runs, masks = find_runs(plan), propagated(plan, inputs)
    done = -1
    for index, node in enumerate(plan.nodes[:end]):
        if index <= done:
            continue
        if index in runs:
            _add_run(plan, runs[index], known)
            done = runs[index].last
        elif node.operation.collects:
            if collector is not None:
                collector(index, known)
            elif index not in plan.outputs:
                known.images[index], known.maps[index] = own.images[index], own.maps[index]
        else:
            made = _of_node(plan, index, known, count, inputs.get(index), None)
            known.images[index], known.maps[index] = made
            if node.operation.is_stored and kernel_input is not None:
                kernel_input(index, known)
        last = max(index, done)
        if last in masks and last in known.images:
            known.images[last] = known.images[last].with_data({MASK: masks[last]})
    return known


def _of_node(
    plan: Plan, index: int, known: ImageMaps, count: int, batch: Batch | None, own: Pairs | None
) -> tuple[Image, Any]:
    """What belongs to images after one node, and what their pairs need there.

    `batch` is that of an input.
    """
    node, step = plan.nodes[index], plan.steps[index]
    ahead = _ahead(plan, index) if step.renews_scale else Ahead()
    images = tuple(known.images[j] for j in node.inputs)
    array = None if batch is None else batch.numbers
    image, maps = node.operation.of_image(images, Context(step, count, ahead, array, own))
    if batch is None:
        return image.without_values(), maps
    return image.with_data(batch.images_last), maps


def _ahead(plan: Plan, index: int) -> Ahead:
    """The affine maps that a new scale will meet."""
    found = [plan.nodes[i].operation.affine_variances() for i in plan.scales.ahead[index]]
    if not found:
        return Ahead()
    weights, biases = zip(*found, strict=True)
    largest: Any = biases[0]
    for bias in biases[1:]:
        largest = jnp.maximum(largest, bias)
    return Ahead(weights[0], largest)


def _add_run(plan: Plan, run: Run, known: ImageMaps) -> None:
    """What belongs to images in a run of equal blocks, as a loop; repetitions come in front."""
    start = known.images[run.entry]
    dtype = start.scale.dtype

    def body(image: Image, operations: dict[int, Any]) -> tuple[Image, Any]:
        images, maps = {run.entry: image}, {}
        for i, operation in operations.items():
            given = tuple(images[j] for j in plan.nodes[i].inputs)
            images[i], maps[i] = operation.of_image(given, Context(plan.steps[i], 0))
        return images[run.block[-1]], maps

    end, maps = lax.scan(body, start, run.operations(plan, dtype))
    known.maps.update(maps)
    known.images[run.last] = end
