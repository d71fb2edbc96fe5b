"""Pools: AvgPool, SumPool, GlobalAvgPool, GlobalSumPool."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntkjax._kernel.algebra.window import PADDINGS, Window
from ntkjax._kernel.operations.banded import WindowPool
from ntkjax._kernel.operations.global_pool import GlobalPool
from ntkjax._layers.checks import Shape, check_axis, check_choice, check_counts, check_flag
from ntkjax._layers.conv import pad_images
from ntkjax._layers.finite import axis_of, check_fits, one_array, one_shape
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


def _window_pool(
    name: str,
    window_shape: Sequence[int],
    strides: Sequence[int] | None,
    padding: str,
    normalize: str,
    axes: tuple[int, int],
) -> Layer:
    batch_axis, channel_axis = axes
    axes = (
        check_axis(name, "batch_axis", batch_axis),
        check_axis(name, "channel_axis", channel_axis),
    )
    taps = check_counts(name, "window_shape", window_shape)
    ndim = len(taps)
    steps = check_counts(name, "strides", (1,) * ndim if strides is None else strides, ndim)
    padding = check_choice(name, "padding", padding, PADDINGS)
    windows = tuple(Window(n, step, 1, padding) for n, step in zip(taps, steps, strict=True))

    def image_axes(shape: Shape) -> tuple[int, ...]:
        rank = len(shape)
        if rank != ndim + 2:
            raise ValueError(
                f"{name}: its input of shape {shape} has {rank} axes, but window_shape={taps} asks "
                f"for {ndim + 2}; give a window with one entry for each spatial axis of the input."
            )
        spatial = tuple(i for i in range(rank) if i not in [axis % rank for axis in axes])
        sizes = tuple(shape[i] for i in spatial)
        check_fits(name, sizes, tuple(w.size_out(n) for w, n in zip(windows, sizes, strict=True)))
        return spatial

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[()]]:
        shape = list(one_shape(name, input_shape))
        for axis, window in zip(image_axes(tuple(shape)), windows, strict=True):
            shape[axis] = window.size_out(input_shape[axis])
        return tuple(shape), ()

    def apply_fn(params: tuple[()], inputs: Array, **kwargs: object) -> Array:
        inputs = one_array(name, inputs)
        spatial = image_axes(inputs.shape)
        window, step = [1] * inputs.ndim, [1] * inputs.ndim
        for axis, n, stride in zip(spatial, taps, steps, strict=True):
            window[axis], step[axis] = n, stride
        padded = pad_images(inputs, spatial, windows)
        sums = lax.reduce_window(padded, 0.0, lax.add, window, step, "VALID")
        if normalize != "inside":
            return sums / math.prod(taps) if normalize == "window" else sums
        counts = np.ones((1,) * inputs.ndim)
        for axis, one in zip(spatial, windows, strict=True):
            shape = [1] * inputs.ndim
            shape[axis] = -1
            counts = counts * one.counts(inputs.shape[axis]).reshape(shape)
        return sums / counts.astype(inputs.dtype)

    arguments = f"{taps}, strides={steps}, padding='{padding}'"
    arguments += ", normalize_edges=True" if normalize == "inside" else ""

    def mask_fn(mask: Array, shape: Shape) -> Array:
        return of_windows(image_axes(shape), windows)(mask, shape)

    parts = (WindowPool(windows, normalize),)
    return make_layer(name, arguments, parts, init_fn, apply_fn, axes, mask_fn)
