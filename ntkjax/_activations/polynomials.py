r"""Functions of an angle without losing digits, at a fraction of the price of arccos or arctan.

Near delta = 1 - cos(theta) = 0 both the angle and sin(theta) - theta cos(theta) are a power of
delta times a smooth function,

    theta = sqrt(delta) A(delta),    sin(theta) - theta cos(theta) = delta^(3/2) G(delta),

so that a polynomial for A and G on [0, 1] gives them to full relative precision; so it does for
what the arctangent lacks of its argument, and for the gaps of all orders.

The gap of order n is that of rectified powers of degree n (see
`ntkjax._activations.rectified_power`): the angle itself for n = 0, and

    gap_n(delta) = n^2 int_0^delta gap_(n-1) = theta delta^n Q_n(delta).
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
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


def _inverse_half_cosine(delta: np.ndarray) -> np.ndarray:
    return 1 / np.sqrt(2 - delta)


def inverse_half_cosine(delta: Array) -> Array:
    """1 / sqrt(2 - delta) = 1 / (sqrt(2) cos(theta / 2)), of delta in [0, 1]."""
    return _horner(_coefficients(_inverse_half_cosine, np.dtype(delta.dtype)), delta)


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


@functools.cache
def _gap_series(order: int) -> Callable[[np.ndarray], np.ndarray]:
    """Q_n: a quotient of two series of positive terms.

    theta = 2 sum_k binomial(2k, k) / (4^k (2k + 1)) (delta / 2)^(k + 1/2), integrated n times.
    """

    def ratio(delta: np.ndarray) -> np.ndarray:
        theta, gap, term = np.zeros_like(delta), np.zeros_like(delta), np.ones_like(delta)
        for k in range(80):
            part = term / (2 * k + 1)
            theta += part
            gap += part * np.prod([j**2 / (k + 0.5 + j) for j in range(1, order + 1)])
            term = term * (2 * k + 1) / (2 * k + 2) * (delta / 2)
        return gap / theta

    return ratio


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def gap_of_order(order: int, delta: Array, theta: Array) -> Array:
    """gap_n, of delta in [0, 1] and its angle, whose derivative is taken to be what it is."""
    if order == 0:
        return theta
    ratio = _horner(_coefficients(_gap_series(order), np.dtype(delta.dtype)), delta)
    return theta * delta**order * ratio


@gap_of_order.defjvp
def _gap_of_order_jvp(order: int, primals: Any, tangents: Any) -> tuple[Array, Array]:
    (delta, theta), (d_delta, d_theta) = primals, tangents
    if order == 0:
        return theta, d_theta
    change = order**2 * gap_of_order(order - 1, delta, theta) * d_delta
    return gap_of_order(order, delta, theta), change
