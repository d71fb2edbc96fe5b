"""Checks of what a user passes to `ntkjax.spectrum`, and its arrays in NumPy's float64."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ntkjax._inference.arguments import check_not_negative
from ntkjax._jax_compat import double_precision, is_concrete
from ntkjax._kernel.arrays import check_finite, describe, real_array
from ntkjax._solve.symmetric import symmetrized


def numbers(name: str, value: Any) -> np.ndarray:
    """Finite real numbers in float64."""
    with double_precision():  # In which numbers of Python are float64.
        array = real_array(name, value)
    if not is_concrete(array):
        raise TypeError(
            f"{name} is traced, but ntkjax.spectrum looks at values: call it outside of jax.jit, "
            "jax.grad and jax.vmap"
        )
    check_finite(name, array)
    return np.asarray(array, np.float64)


def kernel_matrix(kernel: Any) -> tuple[np.ndarray, float]:
    """A symmetric kernel `(n, n)` in float64, and the rounding of the dtype that it came in."""
    if getattr(kernel, "nngp", None) is not None or getattr(kernel, "ntk", None) is not None:
        raise TypeError(
            f"kernel is a {type(kernel).__name__}, which may hold several kernels, expected an "
            "array: pass kernel.ntk or kernel.nngp"
        )
    array = real_array("kernel", kernel)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not array.size:
        raise ValueError(
            f"kernel has shape {array.shape}, expected (n, n) with n at least 1: pass the kernel "
            "of some points with themselves, kernel_fn(x, None, 'ntk')"
        )
    numbers("kernel", array)
    is_float = jnp.issubdtype(array.dtype, jnp.floating)
    rounding = float(jnp.finfo(array.dtype if is_float else np.float64).eps)
    with double_precision():
        # By the rounding of the dtype that it came in: float32 is not symmetric to 1e-16.
        given: Any = array if is_float else np.asarray(array, np.float64)
        return np.asarray(symmetrized(given, "kernel"), np.float64), rounding


def targets_matrix(targets: Any, count: int) -> np.ndarray:
    """Targets `(n,)` or `(n, n_outputs)` as a matrix `(n, n_outputs)`."""
    array = numbers("targets", targets)
    if array.ndim not in (1, 2) or len(array) != count or not array.size:
        raise ValueError(
            f"targets have shape {array.shape}, expected ({count},) or ({count}, n_outputs), as "
            f"the kernel is of {count} points: pass a row for each of them"
        )
    return array.reshape(count, -1)


def not_negative(name: str, value: Any) -> np.ndarray:
    """Numbers of any shape, none of them negative."""
    array = numbers(name, value)
    if array.size and float(array.min()) < 0:
        raise ValueError(
            f"{name} must be at least 0, got {float(array.min()):g}: pass no negative numbers"
        )
    return array


def vector(name: str, value: Any) -> np.ndarray:
    """A vector of numbers, none of them negative."""
    array = not_negative(name, value)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{name} has shape {array.shape}, expected (n,): pass a vector of numbers")
    return array


def ridges(value: Any) -> np.ndarray:
    """One or several ridges."""
    return not_negative("ridge", value)


def variance(value: Any) -> float:
    """A variance of noise."""
    check_not_negative(value, "noise")
    return float(value)


def training_sizes(value: Any, population: float) -> np.ndarray:
    """Numbers of training points, at most the population."""
    array = numbers("sizes", value)
    if np.any(array < 1) or np.any(array != np.floor(array)):
        raise ValueError(
            f"sizes must be whole numbers of at least 1, got {describe(value)}: pass numbers of "
            "training points, such as [10, 100]"
        )
    if np.any(array > population):
        raise ValueError(
            f"sizes must be at most the {population:g} points of the population, from which "
            f"training points are drawn, got {float(array.max()):g}: pass fewer"
        )
    return array
