"""Checks of what a user passes to a process: points, targets, noise, parameters, bounds."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._jax_compat import is_concrete
from ntkjax._kernel.arrays import as_floats, check_finite, describe
from ntkjax._kernel.config import config

#: The name of the noise among parameters, and of what noise given point by point is multiplied by.
NOISE, NOISE_FACTOR = "noise", "noise_factor"


def points(name: str, x: Any) -> Array:
    """Inputs as a finite array of floats with at least one point and one channel."""
    array = as_floats(name, x, config.keeps_dtype)
    if array.ndim < 2 or not array.size:
        raise ValueError(
            f"{name} has shape {array.shape}, expected (n, ...) with at least one point and an "
            "axis of features: pass x[:, None] for points on a line"
        )
    check_finite(name, array)
    return array


def targets(name: str, y: Any, count: int) -> Array:
    """Targets as a finite array `(n,)` or `(n, k)` with a row for each of the points."""
    array = as_floats(name, y, config.keeps_dtype, warns=False)
    if array.ndim not in (1, 2) or len(array) != count or not array.size:
        raise ValueError(
            f"{name} has shape {array.shape}, expected ({count},) or ({count}, n_outputs), as x "
            f"has {count} points: pass a target for each of them"
        )
    check_finite(name, array)
    return array


def noise_variance(noise: Any, count: int | None = None) -> Array:
    """The variance of noise: a number, or `(n,)` for each of the points."""
    array = as_floats(NOISE, noise, config.keeps_dtype, warns=False)
    if array.ndim > 1 or (array.ndim == 1 and count is not None and len(array) != count):
        rows = "n" if count is None else count
        raise ValueError(
            f"noise has shape {array.shape}, expected a number or ({rows},), a variance for each "
            "of the training points: pass noise=0.01, say"
        )
    check_finite(NOISE, array)
    if is_concrete(array) and bool(np.any(np.asarray(array) < 0)):
        raise ValueError(
            f"noise is a variance, at least 0, got {float(np.min(array)):g}: pass 0 or a positive "
            "number"
        )
    return array


def mean_of(mean: Any) -> Any:
    """A mean as it was passed: a finite number, or a function of the points."""
    if callable(mean):
        return mean
    if np.ndim(mean) != 0:
        raise ValueError(
            f"mean is {describe(mean)}, expected a number or a function of x that returns (n,) or "
            "(n, n_outputs): pass mean=0.0"
        )
    check_finite("mean", as_floats("mean", mean, warns=False))
    return mean


def mean_at(mean: Any, x: Array, like: Array) -> Array:
    """The prior mean at points, `(n, k)`, for targets of k columns."""
    if not callable(mean):
        return jnp.full((len(x), like.shape[1]), mean, like.dtype)
    made = as_floats("mean(x)", mean(x), config.keeps_dtype, warns=False).astype(like.dtype)
    if made.shape not in ((len(x),), (len(x), like.shape[1])):
        raise ValueError(
            f"mean(x) has shape {made.shape}, expected ({len(x)},) or ({len(x)}, {like.shape[1]}): "
            "return a number for each point, or for each of its outputs"
        )
    check_finite("mean(x)", made)
    return jnp.broadcast_to(made.reshape(len(x), -1), (len(x), like.shape[1]))


def parameters(params: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Parameters of a network, finite numbers by name."""
    if params is None:
        return None
    if not isinstance(params, Mapping) or not all(isinstance(name, str) for name in params):
        raise TypeError(
            f"params is {describe(params)}, expected numbers by name: pass {{'W_std': 1.5}}"
        )
    for reserved in (NOISE, NOISE_FACTOR):
        if reserved in params:
            raise ValueError(
                f"params holds {reserved!r}, which names the observation noise: pass that as "
                "noise=, or give the parameter of the network another name"
            )
    for name, value in params.items():
        array = as_floats(f"params[{name!r}]", value, warns=False)
        if array.ndim:
            raise ValueError(
                f"params[{name!r}] has shape {array.shape}, expected one number: give each number "
                "a name of its own"
            )
        check_finite(f"params[{name!r}]", array)
    return dict(params)


def interval(name: str, bounds: Any) -> tuple[float, float]:
    """The bounds of one parameter, in order."""
    if not isinstance(bounds, (tuple, list, np.ndarray)) or len(bounds) != 2:
        raise ValueError(
            f"bounds[{name!r}] is {describe(bounds)}, expected (lowest, highest): pass (0.1, 10.0)"
        )
    low, high = (float(bound) for bound in bounds)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(
            f"bounds[{name!r}]=({low:g}, {high:g}), expected two finite numbers, the lower one "
            "first: pass (0.1, 10.0)"
        )
    if name in (NOISE, NOISE_FACTOR) and low < 0:
        raise ValueError(
            f"bounds[{name!r}] starts at {low:g}, and a variance is at least 0: pass (1e-6, 1.0)"
        )
    return low, high


def count_of(name: str, value: Any, least: int = 1) -> int:
    """A whole number of at least `least`."""
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_whole or value < least:
        raise ValueError(
            f"{name} must be a whole number of at least {least}, got {describe(value)}: pass "
            f"{name}={max(least, 1)}"
        )
    return int(value)


def check_names(name: str, given: Iterable[str], known: Iterable[str], mend: str) -> None:
    """Raises ValueError where an argument holds a name that is not known; `mend` ends it."""
    known = list(known)
    unknown = [one for one in given if one not in known]
    if unknown:
        raise ValueError(
            f"{name} holds {', '.join(map(repr, unknown))}, expected names among "
            f"{', '.join(map(repr, known)) or 'none'}: {mend}"
        )


def function_of(name: str, value: Any, known: Mapping[str, Callable[..., Any]]) -> Any:
    """One of several functions, by its name."""
    if value not in known:
        raise ValueError(f"{name}={describe(value)}, expected one of {', '.join(map(repr, known))}")
    return known[value]
