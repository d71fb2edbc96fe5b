"""Checks of what a user passes to a prediction: targets, regularisers, times, kernels."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._jax_compat import is_concrete
from ntkjax._kernel.arrays import as_floats, check_finite, describe, is_numbers, real_array
from ntkjax._kernel.config import config
from ntkjax._solve.regularizer import Regularizer


def float_array(value: Any, name: str) -> Array:
    """The value as an array of floats, in the dtype that a kernel of such inputs has."""
    return as_floats(name, value, config.keeps_dtype, warns=False)


def targets_array(y_train: Any) -> Array:
    """The targets as a finite, non-empty array.

    Integer labels are left to take the dtype of the kernel, which may be float32 under x64; floats
    keep theirs.
    """
    array = real_array("y_train", y_train)
    is_float = jnp.issubdtype(array.dtype, jnp.floating)
    y = as_floats("y_train", array, True, warns=False) if is_float else jnp.asarray(array)
    if y.size == 0:
        raise ValueError(
            f"y_train is empty, got shape {y.shape}: pass targets of at least one training point"
        )
    if is_float:
        check_finite("y_train", y)
    return y


def common_dtype(y: Array, *kernels: Array) -> Any:
    """The dtype of a prediction; labels that are integers do not widen that of the kernels."""
    is_wide = any(a.dtype == np.float64 for a in (*kernels, y))
    return np.dtype(np.float64 if is_wide else np.float32)


def check_not_negative(value: Any, name: str) -> None:
    """Raises where a scalar is not a finite real number of at least zero."""
    if not is_concrete(value):
        return
    is_number = np.ndim(value) == 0 and np.asarray(value).dtype.kind in "biuf"
    if not is_number:
        raise TypeError(
            f"{name} must be a real scalar, got {describe(value)}: pass a number such as 1e-6"
        )
    if not (np.isfinite(value) and value >= 0):
        raise ValueError(
            f"{name} must be finite and at least 0, got {value}: pass 0 or a small positive number"
        )


def diagonal_regularizer(diag_reg: Any, is_absolute: Any) -> Regularizer:
    """That of the arguments `diag_reg` and `diag_reg_absolute_scale`, checked."""
    check_not_negative(diag_reg, "diag_reg")
    if not isinstance(is_absolute, (bool, np.bool_)):
        raise TypeError(
            f"diag_reg_absolute_scale is {describe(is_absolute)}, expected True or False: pass "
            "True for a diag_reg that is added as it is"
        )
    return Regularizer("diag_reg", diag_reg, bool(is_absolute))


def times_array(t: Any) -> Array:
    """Training times as an array of floats; infinity is allowed."""
    times = float_array(t, "t")
    if is_concrete(times) and not bool(np.all(np.asarray(times) >= 0)):
        raise ValueError(
            f"t must hold training times of at least 0, got {describe(t)}: pass t=0. for the "
            "network before training, t=None for the end of training"
        )
    return times


def steps_array(steps: Any) -> Array:
    """Numbers of steps as an array of whole floats; infinity is allowed."""
    array = real_array("steps", steps)
    if not is_concrete(array):
        return jnp.asarray(array, jnp.result_type(float, array.dtype))
    # In float64 where JAX has it: a number of steps has no precision of its own.
    counts = np.asarray(array, np.float64)
    if not bool(np.all((counts >= 0) & (np.isinf(counts) | (counts == np.floor(counts))))):
        raise ValueError(
            f"steps must hold whole numbers of at least 0, got {describe(steps)}: pass steps=100,"
            " say, steps=None for the end of training, or use gradient_descent_mse, whose time is"
            " continuous"
        )
    return jnp.asarray(counts, jnp.result_type(float))


def increasing_times(t: Any) -> Array:
    """Training times, in the order of their axes none before the one that precedes it."""
    times = times_array(t)
    if is_concrete(times) and bool(np.any(np.diff(np.ravel(times)) < 0)):
        raise ValueError(
            f"t must hold times that increase, got {describe(t)}, some of which decrease: pass "
            "jnp.sort(t), and take the answers in that order"
        )
    return times


def scaled_times(times: Array, learning_rate: Any, size: int) -> tuple[Array, bool]:
    """Times in units in which a mode of eigenvalue 1 decays by 1/e, and if some are infinite.

    `size` is the number of entries of the targets, over which the loss is a mean.
    """
    rate = jnp.asarray(learning_rate, times.dtype) / size
    # Infinite time at rate zero would be NaN: nothing is learned at rate zero.
    scaled = jnp.where(rate == 0, jnp.zeros_like(times), times * rate)
    return scaled, is_concrete(times) and bool(np.isinf(np.asarray(times)).any())


def kernel_array(kernel: Any, kind: str, name: str) -> Array:
    """The finite array `kind` ("nngp" or "ntk") of an array, a named tuple or a Kernel."""
    if kernel is None or isinstance(kernel, (dict, str)):
        what = f"a dict of {list(kernel)}" if isinstance(kernel, dict) else describe(kernel)
        raise TypeError(
            f"{name} is {what}, expected a kernel: pass an array, or what kernel_fn "
            "returns, such as kernel_fn(x1, x2, get=('nngp', 'ntk'))"
        )
    if not hasattr(kernel, "nngp") and not hasattr(kernel, "ntk"):
        if isinstance(kernel, (tuple, list)) and not is_numbers(kernel):
            raise TypeError(
                f"{name} is a list of {len(kernel)} kernels, expected one: a prediction is of a "
                "network with one output; join the branches with FanInSum, or predict each output "
                "by a kernel_fn of its own, such as lambda *args: kernel_fn(*args)[0]"
            )
        return _finite_array(kernel, name)
    found = getattr(kernel, kind, None)
    if found is None:
        raise ValueError(
            f"{name} holds no {kind!r} kernel, which this prediction needs: compute it with"
            " kernel_fn(x1, x2, get=('nngp', 'ntk'))"
        )
    return _finite_array(found, f"{name}.{kind}")


def _finite_array(kernel: Any, name: str) -> Array:
    array = float_array(kernel, name)
    check_finite(name, array)
    return array
