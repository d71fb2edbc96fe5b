"""Pools: AvgPool, SumPool, GlobalAvgPool, GlobalSumPool."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntkjax._kernel.algebra.window import PADDINGS, Window
from ntkjax._kernel.operations.banded import WindowPool
from ntkjax._kernel.operations.global_pool import GlobalPool
from ntkjax._layers.checks import Shape, check_axis, check_choice, check_counts, check_flag
from ntkjax._layers.finite import axis_of, check_fits, one_array, one_shape, sizes_after
from ntkjax._layers.geometry import pad_images
from ntkjax._layers.layer import Layer, make_layer
from ntkjax._layers.masking import masked_mean, of_windows


def AvgPool(
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str = "VALID",
    normalize_edges: bool = False,
    batch_axis: int = 0,
    channel_axis: int = -1,
) -> Layer:
    r"""Mean over a sliding window.

    .. math::
        z[P] = \frac{1}{q} \sum_i x[p_i], \qquad
        K'[P, Q] = \frac{1}{q^2} \sum_{i, j} K[p_i, q_j],

    and the same for :math:`\Theta`: all pairs of positions of the two windows.

    Args:
      window_shape: positions along each spatial axis.
      strides: stride along each spatial axis; None for 1.
      padding: "SAME" (zeros), "VALID" or "CIRCULAR" (periodic images).
      normalize_edges: divide by the number of positions inside the image, not by the whole window.
      batch_axis: which axis of the input runs over examples.
      channel_axis: which axis of the input runs over channels.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: an argument is out of its range; when called, the input has other spatial axes.

    Source: Arora et al. 2019, arXiv 1904.11955, section 4.2.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.AvgPool((2, 2), (2, 2)), stax.Flatten())
      >>> float(kernel_fn(jnp.ones((1, 4, 4, 3)), get="nngp")[0, 0])
      1.0
    """
    is_inside = check_flag("AvgPool", "normalize_edges", normalize_edges)
    normalize = "inside" if is_inside else "window"
    axes = (batch_axis, channel_axis)
    return _window_pool("AvgPool", window_shape, strides, padding, normalize, axes)


def SumPool(
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str = "VALID",
    batch_axis: int = 0,
    channel_axis: int = -1,
) -> Layer:
    r"""Sum over a sliding window.

    .. math::
        z[P] = \sum_i x[p_i], \qquad K'[P, Q] = \sum_{i, j} K[p_i, q_j],

    and the same for :math:`\Theta`.

    Args:
      window_shape: positions along each spatial axis.
      strides: stride along each spatial axis; None for 1.
      padding: "SAME" (zeros), "VALID" or "CIRCULAR" (periodic images).
      batch_axis: which axis of the input runs over examples.
      channel_axis: which axis of the input runs over channels.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: an argument is out of its range; when called, the input has other spatial axes.

    Source: Arora et al. 2019, arXiv 1904.11955, section 4.2.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.SumPool((2, 2), (2, 2)), stax.Flatten())
      >>> float(kernel_fn(jnp.ones((1, 4, 4, 3)), get="nngp")[0, 0])
      16.0
    """
    return _window_pool(
        "SumPool", window_shape, strides, padding, "none", (batch_axis, channel_axis)
    )


def GlobalAvgPool(batch_axis: int = 0, channel_axis: int = -1) -> Layer:
    r"""Mean over all positions, whose axes go away.

    .. math::
        K' = \frac{1}{n^2} \sum_{p, q} K[p, q], \qquad
        \Theta' = \frac{1}{n^2} \sum_{p, q} \Theta[p, q],

    over all pairs of the n positions.

    Args:
      batch_axis: which axis of the input runs over examples.
      channel_axis: which axis of the input runs over channels.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: when called, an input has other axes.

    Source: Arora et al. 2019, arXiv 1904.11955, section 4.2 (CNTK-GAP).

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.GlobalAvgPool()
      >>> kernel_fn(jnp.ones((2, 4, 4, 3)), get="nngp").shape
      (2, 2)
    """
    return _global_pool("GlobalAvgPool", True, batch_axis, channel_axis)


def GlobalSumPool(batch_axis: int = 0, channel_axis: int = -1) -> Layer:
    r"""Sum over all positions, whose axes go away.

    .. math::
        K' = \sum_{p, q} K[p, q], \qquad \Theta' = \sum_{p, q} \Theta[p, q].

    Args:
      batch_axis: which axis of the input runs over examples.
      channel_axis: which axis of the input runs over channels.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: when called, an input has other axes.

    Source: Arora et al. 2019, arXiv 1904.11955, section 4.2.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.GlobalSumPool()
      >>> float(kernel_fn(jnp.ones((1, 2, 2, 3)), get="nngp")[0, 0])
      16.0
    """
    return _global_pool("GlobalSumPool", False, batch_axis, channel_axis)


def _global_pool(name: str, mean: bool, batch_axis: int, channel_axis: int) -> Layer:
    batch_axis = check_axis(name, "batch_axis", batch_axis)
    channel_axis = check_axis(name, "channel_axis", channel_axis)

    def spatial(shape: Shape) -> tuple[int, ...]:
        batch = axis_of(name, "batch_axis", batch_axis, shape)
        channel = axis_of(name, "channel_axis", channel_axis, shape)
        return tuple(i for i in range(len(shape)) if i not in (batch, channel))

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[()]]:
        input_shape = one_shape(name, input_shape)
        gone = spatial(input_shape)
        return tuple(n for i, n in enumerate(input_shape) if i not in gone), ()

    def apply_fn(
        params: tuple[()], inputs: Array, *, mask: Array | None = None, **kwargs: object
    ) -> Array:
        inputs = one_array(name, inputs)
        axes = spatial(inputs.shape)
        return masked_mean(inputs, mask, axes, keepdims=False) if mean else jnp.sum(inputs, axes)

    def mask_fn(mask: Array, shape: Shape) -> Array:
        return jnp.all(mask, spatial(shape))

    parts, axes = (GlobalPool(mean),), (batch_axis, channel_axis)
    return make_layer(name, "", parts, init_fn, apply_fn, axes, mask_fn)


@dataclasses.dataclass(frozen=True)
class Pool:
    """The windows of a pool of a finite network, and what is along which axis.

    Attributes:
      layer: its name, for messages.
      windows: a window for each spatial axis.
      axes: batch and channel axis.
    """

    layer: str
    windows: tuple[Window, ...]
    axes: tuple[int, int]

    def image_axes(self, shape: Shape) -> tuple[int, ...]:
        """The spatial axes of an image, into which the windows must fit."""
        rank, ndim = len(shape), len(self.windows)
        if rank != ndim + 2:
            raise ValueError(
                f"{self.layer}: its input of shape {shape} has {rank} axes, but "
                f"window_shape={self.taps} asks for {ndim + 2}; give a window with one entry for "
                "each spatial axis of the input."
            )
        spatial = tuple(i for i in range(rank) if i not in [axis % rank for axis in self.axes])
        sizes = tuple(shape[i] for i in spatial)
        check_fits(self.layer, sizes, sizes_after(self.windows, sizes))
        return spatial

    @property
    def taps(self) -> Shape:
        """Positions of a window."""
        return tuple(window.taps for window in self.windows)

    def shape_out(self, shape: Shape) -> Shape:
        """The shape after the pool."""
        after, axes = list(shape), self.image_axes(shape)
        sizes = sizes_after(self.windows, tuple(shape[axis] for axis in axes))
        for axis, size in zip(axes, sizes, strict=True):
            after[axis] = size
        return tuple(after)

    def reduced(self, inputs: Array, start: Any, fn: Callable[[Any, Any], Any]) -> Array:
        """Combine the entries of each window by `fn`, and `start` where it leaves the image."""
        spatial = self.image_axes(inputs.shape)
        window, step = [1] * inputs.ndim, [1] * inputs.ndim
        for axis, one in zip(spatial, self.windows, strict=True):
            window[axis], step[axis] = one.taps, one.stride
        padded = pad_images(inputs, spatial, self.windows, start)
        return lax.reduce_window(padded, start, fn, window, step, "VALID")

    def __repr__(self) -> str:
        strides = tuple(window.stride for window in self.windows)
        return f"{self.taps}, strides={strides}, padding='{self.windows[0].padding}'"


def check_pool(
    layer: str,
    window_shape: Sequence[int],
    strides: Sequence[int] | None,
    padding: str,
    axes: tuple[int, int],
) -> Pool:
    """From the arguments of a layer."""
    batch_axis, channel_axis = axes
    taps = check_counts(layer, "window_shape", window_shape)
    ndim = len(taps)
    steps = check_counts(layer, "strides", (1,) * ndim if strides is None else strides, ndim)
    padding = check_choice(layer, "padding", padding, PADDINGS)
    return Pool(
        layer,
        tuple(Window(n, step, 1, padding) for n, step in zip(taps, steps, strict=True)),
        (
            check_axis(layer, "batch_axis", batch_axis),
            check_axis(layer, "channel_axis", channel_axis),
        ),
    )


def _window_pool(
    name: str,
    window_shape: Sequence[int],
    strides: Sequence[int] | None,
    padding: str,
    normalize: str,
    axes: tuple[int, int],
) -> Layer:
    pool = check_pool(name, window_shape, strides, padding, axes)

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[()]]:
        return pool.shape_out(one_shape(name, input_shape)), ()

    def apply_fn(params: tuple[()], inputs: Array, **kwargs: object) -> Array:
        inputs = one_array(name, inputs)
        sums = pool.reduced(inputs, 0.0, lax.add)
        if normalize != "inside":
            return sums / math.prod(pool.taps) if normalize == "window" else sums
        counts = np.ones((1,) * inputs.ndim)
        for axis, one in zip(pool.image_axes(inputs.shape), pool.windows, strict=True):
            shape = [1] * inputs.ndim
            shape[axis] = -1
            counts = counts * one.counts(inputs.shape[axis]).reshape(shape)
        return sums / counts.astype(inputs.dtype)

    arguments = f"{pool!r}" + (", normalize_edges=True" if normalize == "inside" else "")
    parts = (WindowPool(pool.windows, normalize),)

    def mask_fn(mask: Array, shape: Shape) -> Array:
        return of_windows(pool.image_axes(shape), pool.windows)(mask, shape)

    return make_layer(name, arguments, parts, init_fn, apply_fn, pool.axes, mask_fn)
