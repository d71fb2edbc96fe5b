"""The NTK of one output array of a network, whose examples may be mapped over."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._finite.implementation import NtkImplementation
from ntkjax._finite.networks import Batch, ExampleAxes, per_example
from ntkjax._finite.output_axes import OutputAxes, output_axes
from ntkjax._finite.tangent_kernel import Rows, tangent_kernel

Network = Callable[[Any, Batch], Array]


def network_kernel(
    network: Network,
    params: Any,
    first: Batch,
    second: Batch | None,
    trace_axes: int | Sequence[int],
    diagonal_axes: int | Sequence[int],
    examples: ExampleAxes | None,
    implementation: NtkImplementation,
) -> Array:
    """J(x1) J(x2)' of `network`; `second` is None where it is the first."""
    shape1 = checked_output(network, params, first)
    shape2 = shape1 if second is None else checked_output(network, params, second)
    roles = output_axes(shape1, shape2, trace_axes, diagonal_axes)
    if examples is None:
        rows = [_whole(network, params, b, roles) for b in (first, second) if b is not None]
        return tangent_kernel(roles, params, *_pair(rows), implementation)[0, 0]
    axis = _example_axis(examples, len(shape1))
    local = roles.without(axis)

    def one(p: Any, example: Batch) -> Array:
        return jnp.squeeze(network(p, example), axis)

    if axis in roles.paired:
        rows = [_mapped(one, params, b, local, examples) for b in (first, second) if b is not None]
        kernel = tangent_kernel(local, params, *_pair(rows), implementation)
        place = _kernel_axis(roles, axis)
        return jnp.moveaxis(kernel, (0, 1), (place, place + 1))

    def of_pair(*pair: Batch) -> Array:
        rows = [_whole(one, params, b, local) for b in pair]
        return tangent_kernel(local, params, *_pair(rows), implementation)[0, 0]

    kernels = per_example(of_pair, examples, first, *([] if second is None else [second]))
    if axis in roles.traced:
        return jnp.mean(kernels, axis=0)
    return jnp.moveaxis(kernels, 0, _kernel_axis(roles, axis))


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


def _pair(rows: list[Rows]) -> tuple[Rows, Rows | None]:
    return rows[0], rows[1] if len(rows) == 2 else None


def _whole(network: Network, params: Any, batch: Batch, roles: OutputAxes) -> Rows:
    """Rows of a network that takes its batch as a whole, as one example."""

    def gradients(paired: Array, shared: Array) -> Any:
        return jax.tree.map(
            lambda g: g[None], _gradient(network, params, batch, roles, paired, shared)
        )

    return Rows(lambda p: network(p, batch)[None], gradients, 1)


def _mapped(
    network: Network, params: Any, batch: Batch, roles: OutputAxes, examples: ExampleAxes
) -> Rows:
    """Rows of a network that treats each example by itself."""

    def outputs(p: Any) -> Array:
        return per_example(lambda example: network(p, example), examples, batch)

    def gradients(paired: Array, shared: Array) -> Any:
        return per_example(
            lambda example: _gradient(network, params, example, roles, paired, shared),
            examples,
            batch,
        )

    return Rows(outputs, gradients, jax.eval_shape(outputs, params).shape[0])


def _gradient(
    network: Network, params: Any, batch: Batch, roles: OutputAxes, paired: Array, shared: Array
) -> Any:
    output, pull = jax.vjp(lambda p: network(p, batch), params)
    return pull(roles.cotangent(output.shape, paired, shared, output.dtype))[0]


def _example_axis(examples: ExampleAxes, rank: int) -> int:
    if not -rank <= examples.output < rank:
        raise ValueError(
            f"vmap_axes names axis {examples.output} of f(x), which has {rank} axes: pass the axis"
            " along which examples are stacked"
        )
    return examples.output % rank


def _kernel_axis(roles: OutputAxes, axis: int) -> int:
    """Where the axes of the kernel that stem from `axis` of the output begin."""
    return sum(2 if a in roles.paired else 1 for a in range(axis) if a not in roles.traced)
