"""Convolutions whose backward pass is as fast within a loop as their forward pass.

JAX transposes a convolution into one with a reversed filter whose axes of channels are swapped. XLA
turns that into the layout for which CPUs have fast code, except within loops, where it is fifteen
times slower. Here filters are reversed and swapped before, so that both passes are convolutions in
that layout: (images, positions, channels) by (taps, inputs, outputs).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax


class Window(NamedTuple):
    """Strides, padding, dilation of inputs and dilation of filters along each spatial axis."""

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    inner: tuple[int, ...]
    steps: tuple[int, ...]


def is_plain(parameters: Any) -> bool:
    """Whether a convolution of JAX has one group, so that `convolution` computes it."""
    groups = parameters["feature_group_count"], parameters["batch_group_count"]
    return groups == (1, 1) and parameters["preferred_element_type"] is None


def convolution(parameters: Any, x: Array, filters: Array) -> Array:
    """What `jax.lax.conv_general_dilated` computes of these parameters; for reverse mode alone."""
    numbers = parameters["dimension_numbers"]
    batch, features, *spatial = numbers.lhs_spec
    out, inputs, *taps = numbers.rhs_spec
    window = Window(
        tuple(parameters["window_strides"]),
        tuple(map(tuple, parameters["padding"])),
        tuple(parameters["lhs_dilation"]),
        tuple(parameters["rhs_dilation"]),
    )
    x, filters = x.transpose(batch, *spatial, features), filters.transpose(*taps, inputs, out)
    y = _convolution(window, parameters["precision"], x, filters)
    batch, features, *spatial = numbers.out_spec
    order = (batch, *spatial, features)
    return y.transpose([order.index(axis) for axis in range(y.ndim)])


def _plain(window: Window, precision: Any, x: Array, filters: Array) -> Array:
    rank = x.ndim - 2
    space = "XYZUVW"[:rank]
    return lax.conv_general_dilated(
        x,
        filters,
        window.strides,
        window.padding,
        window.inner,
        window.steps,
        (f"N{space}C", f"{space}IO", f"N{space}C"),
        precision=precision,
    )


_convolution = jax.custom_vjp(_plain, nondiff_argnums=(0, 1))


def _forward(window: Window, precision: Any, x: Array, filters: Array) -> Any:
    return _plain(window, precision, x, filters), (x, filters)


def _backward(window: Window, precision: Any, given: Any, back: Array) -> tuple[Array, Array]:
    x, filters = given
    padding = []
    for k, (before, _) in enumerate(window.padding):
        size = (filters.shape[k] - 1) * window.steps[k]
        wide = (x.shape[1 + k] - 1) * window.inner[k] + 1
        y = (back.shape[1 + k] - 1) * window.strides[k] + 1
        padding.append((size - before, wide + before - y))
    turned = jnp.flip(filters, range(filters.ndim - 2)).swapaxes(-1, -2)
    mirrored = Window(window.inner, tuple(padding), window.strides, window.steps)
    of_x = _plain(mirrored, precision, back, turned)
    _, pull = jax.vjp(lambda w: _plain(window, precision, x, w), filters)
    return of_x, pull(back)[0]


_convolution.defvjp(_forward, _backward)
