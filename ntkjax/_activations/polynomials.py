r"""The angle between two points as a function of delta = 1 - cos(theta), without losing digits.

Near delta = 0 both the angle and sin(theta) - theta cos(theta) are a power of delta times a smooth
function,

    theta = sqrt(delta) A(delta),    sin(theta) - theta cos(theta) = delta^(3/2) G(delta),

so that a polynomial for A and G on [0, 1] gives them to full relative precision, at a fraction of
the price of arccos. Obtuse angles are replaced by their supplement, whose delta is 2 - delta.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

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


#: The power of two of obtuse angles, and a root that counts as zero: their product is above 1.
_LARGE, _LEAST = 2.0**50, 2.0**-45


@jax.custom_jvp
def _kept(delta: Array) -> tuple[Array, Array]:
    """min(delta, 2 - delta) and its square root s, negative where delta > 1.

    On CPU, XLA makes cheap operations anew in each consumer, but keeps what a square root returns.
    All is made of one root, so that `delta`, which may be a long sum, is made once. Roots of obtuse
    angles are told from others, which are at most 1, by a large power of two.
    """
    acute = jnp.maximum(jnp.minimum(delta, 2 - delta), 0.0)
    root = jnp.sqrt(jnp.where(delta > 1, _LARGE**2 * jnp.maximum(acute, _LEAST**2), acute))
    obtuse = root > 1
    half = jnp.where(root == _LARGE * _LEAST, 0.0, root / _LARGE)
    half = jnp.where(obtuse, half, root)
    return half * half, jnp.where(obtuse, -half, half)


@_kept.defjvp
def _kept_jvp(primals: tuple[Array], tangents: tuple[Array]) -> Any:
    acute, root = _kept(*primals)
    # d acute = +-d delta, and d root = d acute / (2 root), with a zero for its infinite slope.
    obtuse = jnp.signbit(root)
    slope = jnp.where(root == 0, 0.0, 0.5 / jnp.where(root == 0, 1.0, root))
    change = jnp.where(obtuse, -tangents[0], tangents[0])
    return (acute, root), (change, slope * change)


@jax.custom_jvp
def _kept_acute(delta: Array) -> tuple[Array, Array]:
    """The same for delta in [0, 1]: itself, and its square root."""
    root = jnp.sqrt(delta)
    return root * root, root


@_kept_acute.defjvp
def _kept_acute_jvp(primals: tuple[Array], tangents: tuple[Array]) -> Any:
    delta, root = _kept_acute(*primals)
    slope = jnp.where(root > 0, 0.5 / jnp.where(root > 0, root, 1.0), 0.0)
    return (delta, root), (tangents[0], slope * tangents[0])


@jax.custom_jvp
def _theta_and_gap(delta: Array, root: Array) -> tuple[Array, Array]:
    """The angle and sin(theta) - theta cos(theta), of delta in [0, 1] and its square root."""
    theta = root * _horner(_coefficients(_angle_ratio, np.dtype(delta.dtype)), delta)
    gap = delta * root * _horner(_coefficients(_gap_ratio, np.dtype(delta.dtype)), delta)
    return theta, gap


@_theta_and_gap.defjvp
def _theta_and_gap_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> Any:
    theta, gap = _theta_and_gap(*primals)
    # sin(theta) d theta = d delta and d gap = theta d delta; zero for an infinite slope.
    (delta, root), (change, _) = primals, tangents
    slope = jnp.where(root == 0, 0.0, 1 / (jnp.where(root == 0, 1.0, root) * jnp.sqrt(2 - delta)))
    return (theta, gap), (slope * change, theta * change)


class Angle(NamedTuple):
    """The angle between two points, or its supplement where that is obtuse.

    Opposite points are as well resolved as equal ones.
    """

    is_obtuse: Array | None  # None where no angle is
    delta: Array  # 1 - cos(theta), in [0, 1]
    theta: Array
    gap: Array  # sin(theta) - theta cos(theta)

    @classmethod
    def of(cls, delta: Array, *, acute: bool = False) -> "Angle":
        """The angle whose 1 - cos is `delta`, in [0, 2]; in [0, 1] where all are known acute."""
        if acute:
            delta, root = _kept_acute(jnp.minimum(delta, 1.0))
            half, is_obtuse = root, None
        else:
            delta, root = _kept(delta)
            half, is_obtuse = jnp.abs(root), jnp.signbit(root)
        return cls(is_obtuse, delta, *_theta_and_gap(delta, half))

    def choose(self, obtuse: Any, acute: Any) -> Any:
        """One of two expressions, by the kind of angle."""
        return acute if self.is_obtuse is None else jnp.where(self.is_obtuse, obtuse, acute)


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
