"""Keywords of `kernel_fn` that bring arrays of the images, such as the graphs of `Aggregate`.

Which ones a network takes, its operations say (`Operation.keywords`). A value belongs to both
batches; a tuple of two gives one to each, as in neural-tangents:

    kernel_fn(x1, x2, pattern=(g1, g2)),    kernel_fn(x, None, pattern=g).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._jax_compat import is_concrete
from ntkjax._kernel.algebra.errors import UnsupportedError
from ntkjax._kernel.arrays import check_finite, default_float, describe, real_array

Data = dict[str, Any]

#: Keywords of neural-tangents 0.6.5 that any network takes, and the values that they may have.
_UNUSED = {"pattern": (None,)}


def checked_keywords(
    taken: tuple[str, ...], named: tuple[str, ...], kwargs: dict[str, Any]
) -> Data:
    """Those keywords that bring arrays to some layer; refuses what would be ignored.

    `taken` are the keywords of the layers, and `named` those that `kernel_fn` itself names.
    """
    given = {name: value for name, value in kwargs.items() if not _is_none(value)}
    for name, value in kwargs.items():
        if name not in (*taken, *_UNUSED):
            known = ", ".join((*named, *sorted({*taken, *_UNUSED})))
            raise TypeError(
                f"kernel_fn: unknown keyword argument {name!r}; it takes {known}. Parameters of a "
                "layer (such as W_std) are given where the layer is made."
            )
        if name in given and name not in taken:
            if any(value is unused for unused in _UNUSED[name]):
                del given[name]
                continue
            raise ValueError(
                f"kernel_fn: {name}={describe(value)} is not supported by the layers of this "
                f"network; leave it out (at its default, {_UNUSED[name][0]!r})."
            )
    return given


def _is_none(value: Any) -> bool:
    """Whether it is None, or None for both batches."""
    return value is None or (_is_pair(value) and value[0] is None and value[1] is None)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2


def data_of_keywords(keywords: Data) -> tuple[Data, Data, bool]:
    """The arrays of first and of second images, and whether they are known to be the same."""
    first, second, differ = {}, {}, False
    for name, value in keywords.items():
        one, two = _split(name, value)
        first[name] = _array(f"kernel_fn: {name}", one)
        second[name] = first[name] if two is one else _array(f"kernel_fn: {name}[1]", two)
        differ |= not _same(first[name], second[name])
        first[name], second[name] = _of_one_shape(name, first[name], second[name])
    return first, second, differ


def shapes_of_keywords(keywords: Data, dtype: Any) -> tuple[Data, Data, bool]:
    """The same of shapes, each in place of its array; of arrays or what has their shape as well."""

    def struct(value: Any) -> jax.ShapeDtypeStruct:
        if hasattr(value, "shape"):
            is_float = jnp.issubdtype(value.dtype, np.floating)
            return jax.ShapeDtypeStruct(value.shape, dtype if is_float else value.dtype)
        return jax.ShapeDtypeStruct(tuple(value), dtype)

    def is_shape(value: Any) -> bool:
        return isinstance(value, (tuple, list)) and all(isinstance(n, int) for n in value)

    first, second = {}, {}
    for name, value in keywords.items():
        one, two = (value, value) if is_shape(value) else _split(name, value)
        first[name], second[name] = struct(one), struct(two)
    return first, second, first != second


def _split(name: str, value: Any) -> tuple[Any, Any]:
    """The value of first and of second images."""
    if not _is_pair(value):
        return value, value
    one, two = value
    if one is None or (two is not None and isinstance(two, str)):
        raise UnsupportedError(
            f"kernel_fn: {name}=({describe(one)}, {describe(two)}) has no value for x1; give one "
            "for each batch, or one for both."
        )
    return one, one if two is None else two


def _array(name: str, value: Any) -> Array:
    """A value as an array: of floats as they are, of integers, or of booleans."""
    array = real_array(name, value)
    if jnp.issubdtype(array.dtype, np.floating) and array.dtype.itemsize > default_float().itemsize:
        array = array.astype(default_float())
    array = jnp.asarray(array)
    if jnp.issubdtype(array.dtype, np.floating):
        check_finite(name, array)
    return array


def _of_one_shape(name: str, first: Array, second: Array) -> tuple[Array, Array]:
    """Both arrays of one shape but for their first axes: integers are filled up with -1.

    Lists, such as those of edges, may be longer in one batch than in the other.
    """
    longest = tuple(map(max, first.shape[1:], second.shape[1:]))
    is_filled = first.ndim == second.ndim and all(
        jnp.issubdtype(a.dtype, np.integer) or a.shape[1:] == longest for a in (first, second)
    )
    if not is_filled or first.dtype != second.dtype:
        raise ValueError(
            f"kernel_fn: {name} has shape {first.shape} and dtype {first.dtype} for x1 but "
            f"{second.shape} and {second.dtype} for x2; give arrays of one dtype that agree in all "
            "axes but the first (lists of integers may differ in length)."
        )

    def filled(array: Array) -> Array:
        short = zip(longest, array.shape[1:], strict=True)
        pad = [(0, 0), *((0, size - here) for size, here in short)]
        return jnp.pad(array, pad, constant_values=-1) if any(map(any, pad)) else array

    return filled(first), filled(second)


def _same(first: Array, second: Array) -> bool:
    """Whether two arrays are known to be the same."""
    if first is second:
        return True
    if first.shape != second.shape or not is_concrete((first, second)):
        return False
    return bool(np.array_equal(np.asarray(first), np.asarray(second)))
