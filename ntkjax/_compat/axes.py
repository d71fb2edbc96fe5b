"""Axes of covariances, as the helpers of neural_tangents arrange them.

A covariance of images of h times w positions is interleaved, (n1, n2, h, h, w, w), or unzipped,
(n1, n2, h, w, h, w). `start_axis` and `end_axis` say which axes are meant: of the first layout from
axis 2 on, those of the second are (0, 3, 1, 4, ...).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ntkjax._kernel.algebra.kernel_methods import index_of_axes as canonicalize_idx


def count_of_axes(x: Any) -> int:
    """The number of axes of an array, of a shape, or the number itself."""
    if hasattr(x, "ndim"):
        return x.ndim
    return x if isinstance(x, int) else len(x)


def mod(axis: int | Sequence[int], x: Any) -> list[int]:
    """Axes counted from the front, of an array, a shape or a number of axes."""
    ndim = count_of_axes(x)
    axes = [axis] if isinstance(axis, int) else axis
    return [a % ndim if ndim > 0 else a for a in axes]


def canonicalize_axis(axis: int | Sequence[int], x: Any) -> list[int]:
    """The same, each once and in ascending order."""
    return sorted(set(mod(axis, x)))


def _pairs(start_axis: int, end_axis: int) -> int:
    """How many pairs of axes lie in between."""
    count, rest = divmod(end_axis - start_axis, 2)
    if rest:
        raise ValueError(
            f"axes {start_axis} to {end_axis} are {end_axis - start_axis}, an odd number; give "
            "axes that come in pairs."
        )
    return count


def unzip_axes(x: Any, start_axis: int = 0, end_axis: int | None = None) -> Any:
    """(..., h, h, w, w, ...) as (..., h, w, h, w, ...)."""
    end = x.ndim if end_axis is None else end_axis
    _pairs(start_axis, end)
    order = [*range(start_axis, end, 2), *range(start_axis + 1, end, 2)]
    return jnp.transpose(x, (*range(start_axis), *order, *range(end, x.ndim)))


def zip_axes(x: Any, start_axis: int = 0, end_axis: int | None = None) -> Any:
    """(..., h, w, h, w, ...) as (..., h, h, w, w, ...)."""
    end = x.ndim if end_axis is None else end_axis
    count = _pairs(start_axis, end)
    order = [start_axis + i + half for i in range(count) for half in (0, count)]
    return jnp.transpose(x, (*range(start_axis), *order, *range(end, x.ndim)))


def diagonal_between(x: Any, start_axis: int = 0, end_axis: int | None = None) -> Any:
    """The entries of (..., h, w, h, w, ...) at equal positions, (..., h, w, ...)."""
    end = x.ndim if end_axis is None else end_axis
    count = _pairs(start_axis, end)
    for k in range(count):
        # Of k pairs that are done, and one that moves to the end of them.
        first = start_axis + k
        x = jnp.moveaxis(jnp.diagonal(x, axis1=first, axis2=start_axis + count), -1, first)
    return x


def zip_flat(x: Iterable[Any], y: Iterable[Any]) -> tuple[Any, ...]:
    """(x0, y0, x1, y1, ...)."""
    return tuple(value for pair in zip(x, y, strict=False) for value in pair)


def double_tuple(x: Iterable[Any]) -> tuple[Any, ...]:
    """(x0, x0, x1, x1, ...)."""
    return tuple(value for value in x for _ in range(2))


def interleave_ones(x: Any, start_axis: int, end_axis: int, x_first: bool) -> Any:
    """(..., h, w, ...) as (..., h, 1, w, 1, ...), or with the ones in front."""
    sizes = x.shape[start_axis:end_axis]
    ones = (1,) * len(sizes)
    middle = zip_flat(sizes, ones) if x_first else zip_flat(ones, sizes)
    return x.reshape((*x.shape[:start_axis], *middle, *x.shape[end_axis:]))


def outer_prod(x: Any, y: Any, start_axis: int, end_axis: int, prod_op: Callable) -> Any:
    """`prod_op` of all pairs of entries along some axes, interleaved; of y = None, of x with x."""
    first = interleave_ones(x, start_axis, end_axis, True)
    return prod_op(first, interleave_ones(x if y is None else y, start_axis, end_axis, False))


def reverse_zipped(x: Any, start_axis: int = 0) -> Any:
    """(..., h, h, w, w) as (..., w, w, h, h): of an array, or a sequence with an entry an axis."""
    if x is None:
        return None
    ndim = count_of_axes(x)
    order = [a for last in range(ndim - 2, start_axis - 1, -2) for a in (last, last + 1)]
    if hasattr(x, "ndim"):
        return jnp.transpose(x, (*range(start_axis), *order))
    return type(x)([*x[:start_axis], *(x[a] for a in order)])


def mask(x: Any, mask_mat: Any) -> Any:
    """An array that is zero where it is masked."""
    if x is None or mask_mat is None:
        return x
    return jnp.where(mask_mat, jnp.zeros((), x.dtype), x)


def size_at(x: Any, axes: Iterable[int] | None = None) -> int:
    """The product of the sizes along some axes, or all, of an array or a shape."""
    shape = getattr(x, "shape", x)
    return math.prod(shape if axes is None else (shape[a] for a in axes))


def make_2d(x: Any, start_axis: int = 0, end_axis: int | None = None) -> Any:
    """(..., h, h, w, w, ...) as (..., h w, h w, ...)."""
    if x is None:
        return None
    end = x.ndim if end_axis is None else end_axis
    count = _pairs(start_axis, end)
    x = unzip_axes(x, start_axis, end)
    middle = start_axis + count
    sides = size_at(x.shape[start_axis:middle]), size_at(x.shape[middle:end])
    return x.reshape((*x.shape[:start_axis], *sides, *x.shape[end:]))


def axis_after_dot(
    axis: int,
    contracting_dims: Sequence[int],
    batch_dims: Sequence[int],
    lhs_ndim: int | None = None,
) -> int:
    """Where an axis of an operand of `jax.lax.dot_general` is in its result.

    Of the second operand, `lhs_ndim` is the number of axes of the first one.
    """
    if axis in batch_dims:
        return list(batch_dims).index(axis)
    gone = {*contracting_dims, *batch_dims}
    before = sum(1 for a in range(axis) if a not in gone)
    others = 0 if lhs_ndim is None else lhs_ndim - len(batch_dims) - len(contracting_dims)
    return len(batch_dims) + others + before


def slice_shape(shape: tuple[int, ...], idx: Any) -> tuple[int, ...]:
    """The shape of an array after an index; sizes of -1 may stay where it takes all."""
    entries = canonicalize_idx(idx, len(shape))
    for axis, (entry, size) in enumerate(zip(entries, shape, strict=True)):
        if (size is None or size < 0) and entry != slice(None):
            raise ValueError(
                f"axis {axis} of shape {shape} has no known size, but the index takes {entry} of "
                "it; give its size, or take all of it by `:`."
            )
    sizes = [
        (size,) if entry == slice(None) else np.empty(size)[entry].shape
        for entry, size in zip(entries, shape, strict=True)
    ]
    return tuple(size for part in sizes for size in part)
