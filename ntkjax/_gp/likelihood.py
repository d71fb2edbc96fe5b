"""The objectives of a fitted process, at its own parameters and at others."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._gp.arguments import NOISE, NOISE_FACTOR, check_values
from ntkjax._gp.covariance import covariance_of
from ntkjax._gp.losses import gaussian_log_density, log_marginal_likelihood
from ntkjax._gp.state import State
from ntkjax._jax_compat import is_concrete
from ntkjax._solve.factor import factorized
from ntkjax._solve.regularizer import UNREGULARIZED, shifted


def likelihood_of(state: State) -> Array:
    """The log marginal likelihood, of the factor at hand."""
    fit = jnp.sum(state.right * state.weights)
    return gaussian_log_density(fit, state.factor.log_det(), state.right.shape)


def covariance_at(
    network: Any, params: Any, get: str, values: Mapping[str, Any], x: Array
) -> Array:
    """The covariance of points, with some parameters at other values."""
    named = {name: value for name, value in values.items() if name not in (NOISE, NOISE_FACTOR)}
    params = params if params is None else {**params, **named}
    return covariance_of(network, params, get).matrix(x)


def noisy_covariance(
    network: Any, params: Any, get: str, values: Mapping[str, Any], x: Array, noise: Any, dtype: Any
) -> Array:
    """The covariance of noisy targets at points, with some parameters at other values."""
    matrix = covariance_at(network, params, get, values, x).astype(dtype)
    variance = jnp.asarray(values.get(NOISE, noise), dtype)
    return shifted(matrix, variance * jnp.asarray(values.get(NOISE_FACTOR, 1.0), dtype))


def numbers_of(params: Mapping[str, Any] | None, noise: Array) -> dict[str, float]:
    """What may be fitted of a process, by name."""
    numbers = {name: float(value) for name, value in (params or {}).items()}
    return {**numbers, **({NOISE_FACTOR: 1.0} if noise.ndim else {NOISE: float(noise)})}


def likelihood_at(
    state: State, network: Any, params: Any, get: str, values: Mapping[str, Any]
) -> Array:
    """The log marginal likelihood at other values of some parameters, which may be traced."""
    known = (*(params or {}), NOISE, NOISE_FACTOR)
    mend = "pass a parameter of the network, 'noise', or 'noise_factor'"
    check_values(values, known, mend)
    x, dtype = state.scaled(state.x), state.right.dtype
    matrix = noisy_covariance(network, params, get, values, x, state.noise, dtype)
    value = log_marginal_likelihood(matrix, state.right)
    if is_concrete(value) and not np.isfinite(value):
        # Minus infinity: the error says which noise would do.
        factorized(matrix, "kernel_fn(x) with noise", UNREGULARIZED, mends=True)
    return value
