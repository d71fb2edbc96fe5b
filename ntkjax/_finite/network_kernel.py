"""The NTK of one output array of a network, whose examples may be mapped over."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._finite.example_axes import ExampleAxes
from ntkjax._finite.implementation import NtkImplementation
from ntkjax._finite.loops import merged, numbers, over
from ntkjax._finite.networks import Batch, Network, Side, stacked, whole
from ntkjax._finite.output_axes import OutputAxes, output_axes
from ntkjax._finite.tangent_kernel import backward_footprint, places_of, plan_of, tangent_kernel
from ntkjax._finite.vector_products import vector_plan, vector_products

#: NTK-vector products must promise to take so many times fewer multiplications to be chosen.
_MARGIN = 2.0


def network_kernel(
    network: Network,
    leaves: Sequence[Array],
    first: Batch,
    second: Batch | None,
    trace_axes: int | Sequence[int],
    diagonal_axes: int | Sequence[int],
    examples: ExampleAxes | None,
    axis: int | None,
    implementation: NtkImplementation,
    budget: float,
) -> Array:
    """J(x1) J(x2)' of `network`; `second` is None where it is the first.

    `axis` is the axis of examples of its output, or None where it takes a batch as a whole.
    """
    shape1 = checked_output(network, leaves, first)
    shape2 = shape1 if second is None else checked_output(network, leaves, second)
    roles = output_axes(shape1, shape2, trace_axes, diagonal_axes)
    given = [batch for batch in (first, second) if batch is not None]
    if examples is None or axis is None:
        sides = [whole(network, batch) for batch in given]
        return _kernel(roles, leaves, sides, implementation, budget)[0, 0]
    if not -len(shape1) <= axis < len(shape1):
        raise ValueError(
            f"vmap_axes names axis {axis} of f(x), which has {len(shape1)} axes: pass the axis"
            " along which examples are stacked"
        )
    axis %= len(shape1)
    sides = [stacked(network, batch, examples, axis) for batch in given]
    for side, shape in zip(sides, (shape1, shape2), strict=False):
        if side.count != shape[axis]:
            raise ValueError(
                f"vmap_axes names {side.count} examples of x, but axis {axis} of f(x), of shape"
                f" {shape}, has length {shape[axis]}: pass the axes along which the same examples"
                " are stacked"
            )
    local = roles.without(axis)
    if axis in roles.paired:
        kernel = _kernel(local, leaves, sides, implementation, budget)
        place = _kernel_axis(roles, axis)
        return jnp.moveaxis(kernel, (0, 1), (place, place + 1))
    kernels = _of_equal_examples(local, leaves, sides, implementation, budget)
    if axis in roles.traced:
        return jnp.mean(kernels, axis=0)
    return jnp.moveaxis(kernels, 0, _kernel_axis(roles, axis))


def _kernel(
    axes: OutputAxes,
    leaves: Sequence[Array],
    sides: Sequence[Side],
    implementation: NtkImplementation,
    budget: float,
) -> Array:
    """The kernel (examples1, examples2, *kernel of a pair) in the way that is asked for."""
    places = places_of(axes)
    if implementation == NtkImplementation.NTK_VECTOR_PRODUCTS:
        vectors = vector_plan(places, leaves, sides, budget)
        return vector_products(axes, leaves, sides, places, vectors)
    plan = plan_of(axes, leaves, sides, implementation, budget)
    if implementation == NtkImplementation.AUTO:
        vectors = vector_plan(places, leaves, sides, budget)
        if _MARGIN * vectors.work < plan.work:
            return vector_products(axes, leaves, sides, places, vectors)
    return tangent_kernel(axes, leaves, sides, plan)


def _of_equal_examples(
    axes: OutputAxes,
    leaves: Sequence[Array],
    sides: Sequence[Side],
    implementation: NtkImplementation,
    budget: float,
) -> Array:
    """The kernels (example, *kernel of a pair) of each example of x1 and the same one of x2."""
    count = sides[0].count

    def of_pair(number: Array) -> Array:
        alone = [side._replace(arrays=side.some(number[None])) for side in sides]
        return _kernel(axes, leaves, alone, implementation, budget / together)[0, 0]

    together = 1
    alone = [side._replace(arrays=side.some(np.arange(1))) for side in sides]
    rows = places_of(axes)
    all_rows = max(rows.paired1, rows.paired2) * rows.diagonal * rows.traced
    plan = plan_of(axes, leaves, alone, implementation, budget)
    takes = sum(
        backward_footprint(network, leaves, side).bytes(1, all_rows)
        for network, side in zip(plan.networks, alone, strict=True)
    )
    together = max(min(count, int(0.5 * budget / max(takes, 1))), 1)
    parts = numbers(count, -(-count // -(-count // together)))
    return merged(over(jax.vmap(of_pair), parts), 0)[:count]


def checked_output(network: Network, params: Any, batch: Batch) -> tuple[int, ...]:
    """The shape of a network's output, which must be a non-empty array of real floats."""
    output = jax.eval_shape(lambda p: network(p, batch), params)
    if not jnp.issubdtype(output.dtype, jnp.floating):
        raise TypeError(
            f"f must return arrays of real floats, got {output.dtype}: pass logits, not labels, and"
            " the real and imaginary parts of a complex output apart"
        )
    if 0 in output.shape:
        raise ValueError(
            f"f must return a non-empty array, got shape {output.shape}: pass some inputs"
        )
    return output.shape


def _kernel_axis(roles: OutputAxes, axis: int) -> int:
    """Where the axes of the kernel that stem from `axis` of the output begin."""
    return sum(2 if a in roles.paired else 1 for a in range(axis) if a not in roles.traced)
