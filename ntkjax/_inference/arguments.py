"""Checks of what a user passes to a prediction: arrays, targets, regularisers, times, kernels."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._inference.concrete import is_concrete


def _number_array(value: Any, name: str) -> Array:
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} must be an array of real numbers, got {type(value).__name__}: convert it with"
            " numpy.asarray"
        ) from error
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(
            f"{name} must be real, got dtype {array.dtype}: pass its real and imaginary parts apart"
        )
    return array


def real_array(value: Any, name: str) -> Array:
    """The value as an array of floats; integers and booleans are converted."""
    array = _number_array(value, name)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        array = array.astype(jnp.result_type(float))
    return array


def check_finite(array: Array, name: str) -> None:
    """Raises ValueError where a concrete array holds NaN or infinity."""
    if is_concrete(array):
        bad = ~np.isfinite(np.asarray(array))
        if bad.any():
            where = tuple(int(i) for i in np.argwhere(bad)[0])
            raise ValueError(
                f"{name} must be finite, got {int(bad.sum())} NaN or infinite of {bad.size} values,"
                f" the first at {where}: drop or repair those points"
            )


def targets_array(y_train: Any) -> Array:
    """The targets as a finite, non-empty array.

    Integer labels are left to be promoted to the dtype of the kernel, which may be float32 under
    x64.
    """
    y = _number_array(y_train, "y_train")
    if y.size == 0:
        raise ValueError(
            f"y_train is empty, got shape {y.shape}: pass targets of at least one training point"
        )
    if jnp.issubdtype(y.dtype, jnp.floating):
        check_finite(y, "y_train")
    return y


def common_dtype(y: Array, *kernels: Array) -> Any:
    """The dtype of a prediction; labels that are integers do not widen that of the kernels."""
    floating = [a for a in (*kernels, y) if jnp.issubdtype(a.dtype, jnp.floating)]
    return jnp.result_type(*floating)


def check_not_negative(value: Any, name: str) -> None:
    """Raises where a scalar is not a finite real number of at least zero."""
    if not is_concrete(value):
        return
    if isinstance(value, str | complex) or np.ndim(value) != 0:
        raise TypeError(f"{name} must be a real scalar, got {value!r}: pass a number such as 1e-6")
    if not (np.isfinite(value) and value >= 0):
        raise ValueError(
            f"{name} must be finite and at least 0, got {value}: pass 0 or a small positive number"
        )


def times_array(t: Any) -> Array:
    """Training times as an array of floats; infinity is allowed."""
    times = real_array(t, "t")
    if is_concrete(times) and not bool(np.all(np.asarray(times) >= 0)):
        raise ValueError(
            f"t must hold training times of at least 0, got {t}: pass t=0. for the network before"
            " training, t=None for the end of training"
        )
    return times


def kernel_array(kernel: Any, kind: str, name: str) -> Array:
    """The array `kind` ("nngp" or "ntk") of an array, a named tuple or a Kernel."""
    if not hasattr(kernel, "nngp") and not hasattr(kernel, "ntk"):
        return real_array(kernel, name)
    found = getattr(kernel, kind, None)
    if found is None:
        raise ValueError(
            f"{name} holds no {kind!r} kernel, which this prediction needs: compute it with"
            " kernel_fn(x1, x2, get=('nngp', 'ntk'))"
        )
    return real_array(found, f"{name}.{kind}")
