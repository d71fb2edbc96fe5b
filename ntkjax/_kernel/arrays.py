"""What users pass as arrays of numbers: how it becomes a JAX array, and what is refused.

Every function of the package that takes arrays takes them by these rules, whatever made them:
NumPy in any byte order, JAX, nested lists of numbers, whatever NumPy can read (such as pandas).
"""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, dtypes

from ntkjax._jax_compat import is_concrete

#: How many items of a list of arrays a message shows.
_FEW = 4
#: How many entries of an array are looked at together.
_BOOLEANS = 2**20
_PACKAGE = str(Path(__file__).resolve().parents[1])


def describe(value: object) -> str:
    """A value as a message shows it: an array by its type and shape, never by its entries."""
    shape = getattr(value, "shape", None)
    if shape is not None and getattr(value, "ndim", 1):
        return f"{type(value).__name__} of shape {shape}"
    if isinstance(value, (tuple, list)) and _holds_arrays(value):
        items = [*map(describe, value[:_FEW]), *(["..."] if len(value) > _FEW else [])]
        return f"a {type(value).__name__} of {len(value)} ({', '.join(items)})"
    if isinstance(value, dict) and _holds_arrays(value):
        return f"a dict of {sorted(map(str, value))}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _holds_arrays(value: Any) -> bool:
    """Whether there are arrays in a container, at any depth."""
    if isinstance(value, dict):
        return any(map(_holds_arrays, value.values()))
    if isinstance(value, (tuple, list)):
        return any(map(_holds_arrays, value))
    return bool(getattr(value, "shape", None))


def is_numbers(value: object) -> bool:
    """Whether a list or tuple holds numbers, perhaps nested, rather than arrays."""
    if not isinstance(value, (tuple, list)) or not value:
        return False
    first = value[0]
    return isinstance(first, (bool, int, float, complex, np.generic)) or is_numbers(first)


def default_float() -> np.dtype:
    """JAX's own floating-point type: float64 where `jax_enable_x64` is on, else float32."""
    return np.dtype(dtypes.canonicalize_dtype(float))


def kernel_dtype(dtype: Any, keeps_dtype: bool) -> np.dtype:
    """The dtype of the kernel of inputs of some dtype: float32 or float64, never less."""
    wide = default_float()
    narrow = jnp.issubdtype(dtype, np.floating) and np.dtype(dtype).itemsize < wide.itemsize
    return np.dtype(np.float32) if keeps_dtype and narrow else wide


def real_array(name: str, value: Any) -> Any:
    """The value as an array of JAX or NumPy that holds real numbers, in this machine's byte order.

    Raises TypeError where it is none; the message calls it `name`.
    """
    array = value
    if not isinstance(value, (Array, np.ndarray)) or isinstance(value, np.ma.MaskedArray):
        array = _read(name, value)
    if not jnp.issubdtype(array.dtype, np.bool_) and not _is_real(array.dtype):
        mend = "pass floats, such as numpy.asarray(x, float)"
        if jnp.issubdtype(array.dtype, np.complexfloating):
            mend = "stack real and imaginary parts as channels"
        elif jnp.issubdtype(array.dtype, jax.dtypes.extended):
            mend = (
                "pass numbers drawn with these random keys, such as jax.random.normal(key, shape)"
            )
        raise TypeError(f"{name} has dtype {array.dtype}, expected real numbers; {mend}.")
    if not all(isinstance(size, (int, np.integer)) for size in array.shape):
        raise ValueError(
            f"{name} has shape {array.shape}, which holds symbols, expected numbers, on "
            "which the tiles of a kernel depend; export it for fixed shapes, one for each size."
        )
    return native(array)


def native(array: Any) -> Any:
    """The array in this machine's byte order, the only one that JAX takes."""
    if isinstance(array, np.ndarray) and not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array


def _is_real(dtype: Any) -> bool:
    return bool(jnp.issubdtype(dtype, np.integer) or jnp.issubdtype(dtype, np.floating))


def _read(name: str, value: Any) -> Any:
    """What is no array, as one."""
    if hasattr(value, "todense"):
        raise TypeError(
            f"{name} is sparse ({type(value).__name__}), expected a dense array; pass "
            f"{'x.toarray()' if hasattr(value, 'toarray') else 'x.todense()'}."
        )
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise TypeError(
            f"{name} is a masked array, whose mask would be lost; fill it first, as in x.filled(0)."
        )
    if hasattr(value, "__jax_array__"):
        return jnp.asarray(value)
    try:
        array = np.asarray(value)
    except jax.errors.TracerArrayConversionError:
        array = jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} is {describe(value)}, expected an array of real numbers; make it one with "
            f"numpy.asarray, which says: {error}"
        ) from None
    if array.dtype == object:
        raise TypeError(
            f"{name} is {describe(value)}, which is of dtype object, expected real numbers; pass "
            "an array of floats, such as numpy.asarray(x, float)."
        )
    if isinstance(value, (bool, int, float, tuple, list)) and array.dtype == np.float64:
        # Python's numbers have no precision of their own.
        return array.astype(default_float())
    return array


def as_floats(name: str, value: Any, keeps_dtype: bool = False, *, warns: bool = True) -> Array:
    """The value as an array of floats; raises where it holds no real numbers.

    They are of JAX's own floating-point type or, where `keeps_dtype`, of the value's if that is
    float32 or float64. A value of a wider type than JAX keeps raises a warning if `warns`.
    """
    array = real_array(name, value)
    wide = default_float()
    size = array.dtype.itemsize if jnp.issubdtype(array.dtype, np.floating) else wide.itemsize
    if size > wide.itemsize:
        if warns:
            _warn_of_narrowing(name, array.dtype, wide)
        # JAX does not take all that NumPy has (float128); what is too large becomes infinite.
        with np.errstate(over="ignore"):
            array = array.astype(wide)
    dtype = kernel_dtype(array.dtype, keeps_dtype)
    if isinstance(array, Array) and array.dtype == dtype and not array.weak_type:
        return array  # A conversion takes longer to find that there is none.
    return jnp.asarray(array, dtype)


def _warn_of_narrowing(name: str, dtype: Any, wide: np.dtype) -> None:
    mend = f"convert it to {wide} to silence this"
    if wide == np.float32:
        mend = f"call jax.config.update('jax_enable_x64', True) for float64, or {mend}"
    message = f"{name} has dtype {dtype}, but JAX keeps {wide}, in which it is used; {mend}."
    level, frame = 1, sys._getframe()
    while frame is not None and _is_ours(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_PACKAGE)


def is_on_host(array: Array | np.ndarray) -> bool:
    """Whether NumPy reads an array that has values where it lies."""
    return isinstance(array, np.ndarray) or all(
        device.platform == "cpu" for device in array.devices()
    )


def check_finite(name: str, array: Array | np.ndarray) -> None:
    """Raises ValueError where an array that has values holds NaN or infinity."""
    if not is_concrete(array) or _are_finite([array]):
        return
    bad = ~np.isfinite(np.asarray(array))
    where = tuple(map(int, np.argwhere(bad)[0]))
    raise ValueError(
        f"{name} must be finite, got {int(bad.sum())} NaN or infinite of {bad.size} values, the "
        f"first at {where}; drop or fill these entries, or scale down what {array.dtype} cannot "
        "hold."
    )


def check_all_finite(named: Sequence[tuple[str, Any]]) -> None:
    """The same of many arrays by name, of which those on one device are looked at together."""
    places: dict[Any, list[tuple[str, Any]]] = {}
    for name, array in named:
        if is_concrete(array):
            where = None if is_on_host(array) else frozenset(array.devices())
            places.setdefault(where, []).append((name, array))
    for there in places.values():
        if not _are_finite([array for _, array in there]):
            for name, array in there:
                check_finite(name, array)


def _are_finite(arrays: Sequence[Array | np.ndarray]) -> bool:
    """Whether all entries of some arrays, all of which are on the host or none, are finite."""
    if is_on_host(arrays[0]):  # NumPy reads them where they are, and compiles nothing.
        return all(_is_finite_on_host(np.atleast_1d(np.asarray(array))) for array in arrays)
    # Known here also within a program of the caller's.
    with jax.ensure_compile_time_eval():
        return bool(_have_finite_entries(arrays))


def _is_finite_on_host(array: np.ndarray) -> bool:
    """The same of one array, some rows at a time: NumPy makes a boolean for each entry."""
    rows = max(1, _BOOLEANS * len(array) // max(array.size, 1))
    parts = (array[i : i + rows] for i in range(0, len(array), rows))
    return all(np.isfinite(part).all() for part in parts)


@jax.jit
def _have_finite_entries(arrays: Sequence[Array]) -> Array:
    """The same as a program, one for all arrays."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(array)) for array in arrays]))
