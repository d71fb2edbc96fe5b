r"""The angle between two points as a function of delta = 1 - cos(theta), without losing digits.

Near delta = 0 both the angle and sin(theta) - theta cos(theta) are a power of delta times a smooth
function,

    theta = sqrt(delta) A(delta),    sin(theta) - theta cos(theta) = delta^(3/2) G(delta),

so that a polynomial for A and G on [0, 1] gives them to full relative precision, at a fraction of
the price of arccos. Obtuse angles are reflected: delta(pi - theta) = 2 - delta.
"""

import functools
from collections.abc import Callable

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


@jax.custom_jvp
def safe_sqrt(x: Array) -> Array:
    """Square root whose derivative at zero is zero, not infinite."""
    return jnp.sqrt(x)


@safe_sqrt.defjvp
def _safe_sqrt_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    positive = x > 0
    slope = jnp.where(positive, 0.5 / safe_sqrt(jnp.where(positive, x, 1.0)), 0.0)
    return safe_sqrt(x), slope * dx


def angle_and_gap(delta: Array) -> tuple[Array, Array]:
    """Theta and sin(theta) - theta cos(theta) for delta = 1 - cos(theta) in [0, 2]."""
    obtuse = delta > 1
    acute = jnp.where(obtuse, 2 - delta, delta)
    root = safe_sqrt(acute)
    theta = root * _horner(_coefficients(_angle_ratio, np.dtype(delta.dtype)), acute)
    gap = acute * root * _horner(_coefficients(_gap_ratio, np.dtype(delta.dtype)), acute)
    # theta = pi - t and gap = pi (delta - 1) + (sin t - t cos t) for obtuse angles.
    return jnp.where(obtuse, np.pi - theta, theta), jnp.where(
        obtuse, np.pi * (delta - 1) + gap, gap
    )


def small_arcsin(y: Array) -> Array:
    """Arcsin on [0, 1], to full relative precision near zero."""
    cosine = safe_sqrt((1 - y) * (1 + y))
    delta = y * y / (1 + cosine)
    return jnp.where(y > 0, angle_and_gap(delta)[0], y)
