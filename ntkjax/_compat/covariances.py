"""Layers' formulas on arrays of covariances, as helpers of neural_tangents: affine maps and taps.

Convolutions and pools average over taps: at positions p and q the covariance after is the mean of
those at p + t and q + t over the taps t. The helpers for all pairs of positions return the spatial
axes in the reverse order, which is what `is_reversed` of a `Kernel` says there.
"""

import enum
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ntkjax._compat.axes import diagonal_between, make_2d, reverse_zipped, unzip_axes, zip_axes
from ntkjax._layers.padding import Padding


class Pooling(enum.Enum):
    """How a pool joins the activations in its window."""

    AVG = "AVG"
    SUM = "SUM"


def affine(mat: Any, W_std: Any, b_std: Any) -> Any:
    """W_std^2 K + b_std^2; None of None."""
    if mat is None:
        return None
    scaled = W_std**2 * mat
    return scaled if b_std is None else scaled + b_std**2


def factorial(n: int) -> int:
    """n!, and 1 of what is negative."""
    return math.factorial(max(n, 0))


def double_factorial(n: int) -> int:
    """N!! = n (n - 2) (n - 4) ..."""
    return math.prod(range(n, 0, -2))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def safe_sqrt(x: Any, tol: float = 0.0) -> Any:
    """The root of what is at least `tol`, with a derivative of zero at zero."""
    return jnp.sqrt(jnp.maximum(x, tol))


@safe_sqrt.defjvp
def _(tol: float, primals: Any, tangents: Any) -> Any:
    (x,), (dx,) = primals, tangents
    least = max(tol, 1e-30)
    slope = jnp.where(x > least, 0.5 / jnp.sqrt(jnp.maximum(x, least)), 0.0)
    return safe_sqrt(x, tol), slope * dx


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def safe_arctan2(x: Any, y: Any, fill_zero: float | None = None) -> Any:
    """arctan2, with a finite derivative, and `fill_zero` in place of its value at (0, 0)."""
    angle = jnp.arctan2(x, y)
    return angle if fill_zero is None else jnp.where((x == 0) & (y == 0), fill_zero, angle)


@safe_arctan2.defjvp
def _(fill_zero: float | None, primals: Any, tangents: Any) -> Any:
    (x, y), (dx, dy) = primals, tangents
    square = jnp.maximum(x**2 + y**2, 1e-30)
    return safe_arctan2(x, y, fill_zero), (y * dx - x * dy) / square


def over_pairs(
    fn: Callable[[Any, Any, Any], Any],
    cov12: Any,
    var1: Any,
    var2: Any,
    diagonal_batch: bool,
    diagonal_spatial: bool,
) -> Any:
    """`fn(covariance, variance, variance)` of all pairs of examples and positions."""
    start = 1 if diagonal_batch else 0
    end = 2 - start if diagonal_spatial else cov12.ndim
    var2 = var1 if var2 is None else var2
    last = 1 if diagonal_spatial else var1.ndim

    def flat(var: Any) -> Any:
        return var.reshape((*var.shape[:start], -1, *var.shape[last:]))

    one, two = jnp.expand_dims(flat(var1), start + 1), jnp.expand_dims(flat(var2), start)
    out = jnp.vectorize(fn)(make_2d(cov12, start, end), one, two)
    sides = *cov12.shape[start:end:2], *cov12.shape[start + 1 : end : 2]
    out = out.reshape((*cov12.shape[:start], *sides, *cov12.shape[end:]))
    return zip_axes(out, start, end)


def dimension_numbers(n: int, channels_first: bool = True) -> tuple[str, str, str]:
    """Names of the axes of a convolution of JAX over n spatial axes."""
    spatial = "".join(c for c in "ABDEFGHJKLMPQRSTUVWXYZ")[:n]
    image = f"NC{spatial}" if channels_first else f"N{spatial}C"
    return image, f"{spatial}IO", image


def same_pad_for_filter_shape(
    x: Any, filter_shape: Sequence[int], strides: Sequence[int], axes: Sequence[int],
    mode: str = "wrap",
) -> Any:  # fmt: skip
    """An array padded along some axes, so that a VALID window gives what a SAME one would."""
    pads = [(0, 0)] * x.ndim
    sizes = [x.shape[axis] for axis in axes]
    for axis, pad in zip(axes, lax.padtype_to_pads(sizes, filter_shape, strides, "SAME"),
                         strict=True):  # fmt: skip
        pads[axis] = pad
    return jnp.pad(x, pads, mode)


def _taps(
    array: Any, axes: Sequence[tuple[int, ...]], filter_shape: Sequence[int],
    strides: Sequence[int], padding: Any,
) -> Any:  # fmt: skip
    """The sum over taps; along each entry of `axes`, of one axis or two, the window is the same."""
    name = getattr(padding, "name", padding)
    circular = name == "CIRCULAR"
    starts: list[np.ndarray] = []
    for group, width, stride in zip(axes, filter_shape, strides, strict=True):
        size = array.shape[group[0]]
        kind = "SAME" if circular else name
        ((low, high),) = lax.padtype_to_pads((size,), (width,), (stride,), kind)
        pads = [(low, high) if axis in group else (0, 0) for axis in range(array.ndim)]
        array = jnp.pad(array, pads, "wrap" if circular else "constant")
        starts.append(np.arange(0, size + low + high - width + 1, stride))
    total: Any = 0
    for taps in itertools.product(*map(range, filter_shape)):
        part = array
        for group, tap, start in zip(axes, taps, starts, strict=True):
            for axis in group:
                part = jnp.take(part, start + tap, axis)
        total = total + part
    return total


def conv_full_shared(
    cov: Any, filter_shape: Sequence[int], strides: Sequence[int], padding: Any, batch_ndim: int
) -> Any:
    """A convolution's mean over taps of all pairs of positions, with its spatial axes reversed."""
    if cov is None or cov.ndim == 0:
        return cov
    pairs = [(axis, axis + 1) for axis in range(batch_ndim, cov.ndim, 2)]
    out = _taps(cov, pairs, filter_shape, strides, padding) / math.prod(filter_shape)
    return reverse_zipped(out, batch_ndim)


def conv_full_unshared(
    cov: Any, filter_shape: Sequence[int], strides: Sequence[int], padding: Any, batch_ndim: int
) -> Any:
    """The same with weights of its own for each position: zero but at equal ones; not reversed."""
    if cov is None or cov.ndim == 0:
        return cov
    equal = diagonal_between(unzip_axes(cov, batch_ndim), batch_ndim)
    out = conv_diagonal(equal, filter_shape, strides, padding, batch_ndim)
    for axis in range(batch_ndim, out.ndim):
        place = batch_ndim + 2 * (axis - batch_ndim)
        eye = jnp.eye(out.shape[place], dtype=out.dtype)
        eye = eye.reshape([n if k in (place, place + 1) else 1 for k, n in enumerate(
            (*out.shape[: place + 1], *out.shape[place:]))])  # fmt: skip
        out = jnp.expand_dims(out, place + 1) * eye
    return out


def conv_diagonal(
    cov: Any, filter_shape: Sequence[int], strides: Sequence[int], padding: Any, batch_ndim: int
) -> Any:
    """The mean over taps where only equal positions are held."""
    if cov is None or cov.ndim == 0:
        return cov
    axes = [(axis,) for axis in range(batch_ndim, cov.ndim)]
    return _taps(cov, axes, filter_shape, strides, padding) / math.prod(filter_shape)


def pool_kernel(
    lhs: Any,
    pool_type: Any,
    window_shape: Sequence[int],
    strides: Sequence[int],
    padding: Any,
    normalize_edges: bool,
    batch_ndim: int,
) -> Any:
    """A pool of a covariance, with a window for each of its axes after the batches."""
    if lhs is None or lhs.ndim == 0:
        return lhs

    def windows(array: Any) -> Any:
        axes = [(axis,) for axis in range(batch_ndim, array.ndim)]
        return _taps(array, axes, window_shape, strides, padding)

    out = windows(lhs)
    if getattr(pool_type, "name", pool_type) != "AVG":
        return out
    if normalize_edges and getattr(padding, "name", padding) == "SAME":
        return out / windows(jnp.ones((1,) * batch_ndim + lhs.shape[batch_ndim:], lhs.dtype))
    return out / math.prod(window_shape)


def diag_mul(x: Any, factor: Any, diagonal_batch: bool, diagonal_spatial: bool) -> Any:
    """A covariance times a factor where an example and a position meet themselves."""
    if x is None or (not diagonal_batch and x.shape[0] != x.shape[1]):
        return x
    start = 1 if diagonal_batch else 0
    same = jnp.asarray(True)
    for first in range(start, 2 - start if diagonal_spatial else x.ndim, 2):
        eye = jnp.eye(x.shape[first], dtype=bool)
        same &= eye.reshape([n if k in (first, first + 1) else 1 for k, n in enumerate(x.shape)])
    return jnp.where(same, factor * x, x)


NAMES = {
    "Padding": Padding,
    "_Pooling": Pooling,
    "_affine": affine,
    "_conv_kernel_diagonal_spatial": conv_diagonal,
    "_conv_kernel_full_spatial_shared": conv_full_shared,
    "_conv_kernel_full_spatial_unshared": conv_full_unshared,
    "_get_dimension_numbers": dimension_numbers,
    "_diag_mul": diag_mul,
    "_pool_kernel": pool_kernel,
    "_same_pad_for_filter_shape": same_pad_for_filter_shape,
}
