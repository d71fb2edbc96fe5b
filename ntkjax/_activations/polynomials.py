r"""Functions of an angle without losing digits, at a fraction of the price of arccos or arctan.

Near delta = 1 - cos(theta) = 0 both the angle and sin(theta) - theta cos(theta) are a power of
delta times a smooth function,

    theta = sqrt(delta) A(delta),    sin(theta) - theta cos(theta) = delta^(3/2) G(delta),

so that a polynomial for A and G on [0, 1] gives them to full relative precision; so it does for
what the arctangent lacks of its argument.
"""

import functools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.polynomial import chebyshev, polynomial

#: Degree of A and G for which the error of the fit is below the rounding error of the dtype.
_DEGREES = {np.dtype(np.float32): 8, np.dtype(np.float64): 20}


def _angle_ratio(delta: np.ndarray) -> np.ndarray:
    """A(delta): half-angle form, exact for small delta."""
    return 2 * np.arcsin(np.sqrt(delta / 2)) / np.sqrt(delta)


def _gap_ratio(delta: np.ndarray) -> np.ndarray:
    """G(delta): sin t - t cos t = sum_k (-1)^k (2k + 2) / (2k + 3)! t^(2k + 3)."""
    theta = 2 * np.arcsin(np.sqrt(delta / 2))
    total, term = np.zeros_like(theta), theta**3 / 6
    for k in range(16):
        total += (2 * k + 2) * term
        term = -term * theta**2 / ((2 * k + 4) * (2 * k + 5))
    return total / delta**1.5


@functools.cache
def _coefficients(function: Callable, dtype: np.dtype) -> tuple[float, ...]:
    """Coefficients in powers of delta, highest first, of the Chebyshev interpolant on [0, 1]."""
    fit = chebyshev.chebinterpolate(lambda t: function((t + 1) / 2), _DEGREES[dtype])
    powers = chebyshev.cheb2poly(fit)
    shifted = np.zeros(1)
    for coefficient in powers[::-1]:
        shifted = polynomial.polyadd(polynomial.polymul(shifted, [-1.0, 2.0]), [coefficient])
    return tuple(shifted[::-1].tolist())


def _horner(coefficients: tuple[float, ...], x: Array) -> Array:
    total = jnp.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * x + coefficient
    return total


def angle_and_gap(delta: Array, root: Array) -> tuple[Array, Array]:
    """The angle and sin(theta) - theta cos(theta), of delta in [0, 1] and its square root."""
    theta = root * _horner(_coefficients(_angle_ratio, np.dtype(delta.dtype)), delta)
    gap = delta * root * _horner(_coefficients(_gap_ratio, np.dtype(delta.dtype)), delta)
    return theta, gap


def _arctan_ratio(square: np.ndarray) -> np.ndarray:
    """(z - arctan z) / z^3 of z^2: by its series where the difference would cancel."""
    z = np.sqrt(square)
    series = np.zeros_like(z)
    for k in range(60, -1, -1):
        series = 1 / (2 * k + 3) - series * np.minimum(square, 0.3)
    return np.where(square < 0.3, series, (z - np.arctan(z)) / z**3)


def arctan_deficit(square: Array) -> Array:
    """(z - arctan z) / z^3, of z^2 in [0, 1]."""
    return _horner(_coefficients(_arctan_ratio, np.dtype(square.dtype)), square)
