"""Checks of what a user passes to a process: points, targets, noise, parameters, bounds."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._jax_compat import is_concrete
from ntkjax._kernel.arrays import as_floats, check_finite, describe
from ntkjax._kernel.config import config
from ntkjax._kernel.get import requested_names

#: The name of the noise among parameters, and of what noise given point by point is multiplied by.
NOISE, NOISE_FACTOR = "noise", "noise_factor"
#: How many seeds there are.
_SEEDS = 2**32


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


def check_bounds(bounds: Mapping[str, Any] | None) -> None:
    """Raises where bounds are not two numbers by name, in order."""
    if bounds is None:
        return
    if not isinstance(bounds, Mapping):
        raise TypeError(
            f"bounds is {describe(bounds)}, expected pairs by name: pass {{'noise': (1e-3, 1.0)}}"
        )
    for name, pair in bounds.items():
        interval(name, pair)


def interval(name: str, bounds: Any) -> tuple[float, float]:
    """The bounds of one parameter, in order."""
    try:
        low, high = (float(bound) for bound in bounds)
    except (TypeError, ValueError):
        raise ValueError(
            f"bounds[{name!r}] is {describe(bounds)}, expected (lowest, highest): pass (0.1, 10.0)"
        ) from None
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


def check_flag(name: str, value: Any) -> None:
    """Raises where an argument is not True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {describe(value)}, expected True or False: pass {name}=True")


def one_kernel(get: Any) -> None:
    """Raises where `get` does not name one kernel."""
    requested_names(get, ("nngp", "ntk"), "the NNGP")
    if not isinstance(get, str):
        raise TypeError(
            f"get is {describe(get)}, expected the name of one kernel, which is the covariance: "
            "pass get='nngp' or get='ntk'"
        )


def seed_of(seed: Any) -> int:
    """A seed that random numbers of JAX and NumPy take, and tell from all others."""
    count_of("seed", seed, 0)
    if seed >= _SEEDS:
        raise ValueError(f"seed must be below 2**32, got {seed}: pass seed=1")
    return int(seed)


def like_seen(x: Array, seen: Array) -> Array:
    """Points of the kind of those before: as many axes, and as many features."""
    if x.ndim != seen.ndim or x.shape[-1] != seen.shape[-1]:
        raise ValueError(
            f"x has shape {x.shape}, and the training points {seen.shape}: pass points with as "
            "many axes and features"
        )
    return x


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


def check_values(values: Any, known: Iterable[str], mend: str) -> None:
    """Raises where `params` of a likelihood are not numbers by name, among those that are known."""
    if not isinstance(values, Mapping):
        raise TypeError(
            f"params is {describe(values)}, expected numbers by name: pass {{'W_std': 1.5}}"
        )
    check_names("params", values, known, mend)
    for name, value in values.items():
        array = as_floats(f"params[{name!r}]", value, warns=False)
        check_finite(f"params[{name!r}]", array)
        is_variance = name in (NOISE, NOISE_FACTOR)
        if is_variance and is_concrete(array) and bool(np.any(np.asarray(array) < 0)):
            raise ValueError(
                f"params[{name!r}] must be at least 0, got {float(np.min(array)):g}: pass 0 or a "
                "positive number"
            )
        if array.ndim:
            raise ValueError(
                f"params[{name!r}] has shape {array.shape}, expected one number: fit another "
                "process for noise by points"
            )


def function_of(name: str, value: Any, known: Mapping[str, Callable[..., Any]]) -> Any:
    """One of several functions, by its name."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name}={describe(value)}, expected one of {', '.join(map(repr, known))}")
    return known[value]
