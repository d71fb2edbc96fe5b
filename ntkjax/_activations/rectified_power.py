r"""Rectified powers f(x) = x^n for x >= 0 and 0 below, and the sign function.

With variances r1^2, r2^2, p = r1 r2, an acute angle t, c = cos(t) and m = 1 * 3 * ... * (2 n - 1),
let p^n P_n(c) be E u^n v^n, so that P_n(1) = m, and let gap_n be the function of delta = 1 - c with

    gap_0 = t,     gap_n' = n^2 gap_(n-1),     gap_n(0) = 0.

The arc-cosine kernels of Cho & Saul 2009, eq. 4-9, are then

    2 pi E f(u) f(v) = p^n (pi P_n(c) - (-1)^n gap_n(t)),
    2 pi E f(u) f(v) = p^n gap_n(t)    where t is the supplement of an obtuse angle,

since both sides have n^2 times that of n - 1 as their derivatives by c. With 2 E f(u)^2 = m v^n,

    E (f(u) - f(v))^2 = m (r1^n - r2^n)^2 / 2 + p^n (m - P_n(c) + (-1)^n gap_n(t) / pi),

in which m - P_n(c) = delta times a sum of positive terms. E f'(u) f'(v) is n^2 times the kernel of
n - 1; for n = 0 it is infinite at parallel points and zero elsewhere, and counts as zero.

The sign is twice the step (n = 0) less 1: E f(u) f(v) = 1 - 2 t / pi, or its opposite for obtuse
angles.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from ntkjax._activations.angle import Angle, Deviation, nearly_opposite
from ntkjax._activations.polynomials import gap_of_order
from ntkjax._kernel.algebra.operation import operation, static
from ntkjax._kernel.operations.activation import DualPair, FarPair


class _Found(NamedTuple):
    distance: Array
    covariance: Array
    slope: Array
    given: Array  # K


class _OfDirections:
    """What both have in common. A subclass gives `variance`, `growth` and `_of_angle`."""

    steepness = 0.0

    @staticmethod
    def cap(dtype: DTypeLike) -> None:
        """None: f(a x) = a^n f(x) for all a > 0."""
        return

    def point(self, var: Array) -> Deviation:
        """Standard deviation and its inverse."""
        return Deviation.of(var)

    def wants_supplement(self, first: Deviation, second: Deviation, distance: Array) -> Array:
        """Whether E (u + v)^2 would add digits: the pair is nearly opposite."""
        return nearly_opposite(first, second, distance)

    def pair(
        self,
        first: Deviation,
        second: Deviation,
        distance: Array,
        *,
        supplement: Array | None = None,
        acute: bool = False,
    ) -> DualPair:
        """The expectations of a pair; a point of no variance counts as orthogonal."""
        angle = Angle.of(first, second, distance, supplement=supplement, acute=acute)
        made = self._of_angle(first, second, angle)
        return DualPair(made.distance, made.slope, made.given)

    def far(
        self, first: Deviation, second: Deviation, covariance: Array, *, rest: Array | None = None
    ) -> FarPair:
        """The expectations of a pair of points of any sizes."""
        angle = Angle.of_rest(first, second, covariance, rest)
        made = self._of_angle(first, second, angle)
        return FarPair(made.covariance, made.slope, made.distance)

    def _of_angle(self, first: Deviation, second: Deviation, angle: Angle) -> _Found:
        raise NotImplementedError


@operation
class RectifiedPower(_OfDirections):
    """f(x) = x^n for x >= 0 and 0 below, with 0^0 = 1."""

    degree: int = static()

    is_nonnegative = True

    @property
    def is_homogeneous(self) -> bool:
        """Whether f is the rectifier."""
        return self.degree == 1

    @property
    def growth(self) -> int:
        """N."""
        return self.degree

    def variance(self, var: Array) -> Array:
        """M v^n / 2; of a point of no variance, f(0)^2."""
        half = 0.5 * sum(_level_weights(self.degree).values())
        if self.degree == 0:
            return jnp.where(var > 0, half, jnp.ones_like(var))
        return half * var**self.degree

    def _of_angle(self, first: Deviation, second: Deviation, angle: Angle) -> _Found:
        product, n = first.std * second.std, self.degree
        size = product - angle.rest
        kernel = product**n * _kernel(n, angle) / (2 * np.pi)
        slope = jnp.zeros_like(kernel)
        if n:
            slope = n**2 * product ** (n - 1) * _kernel(n - 1, angle) / (2 * np.pi)
        total = sum(_level_weights(n).values())
        across = 0.5 * total * jnp.square(first.std**n - second.std**n)
        distance = across + product**n * _lack(n, angle)
        if n == 0:
            # f(0) = 1 is itself.
            both_zero = (first.inverse == 0) & (second.inverse == 0)
            distance = jnp.where(both_zero, 0.0, distance)
            kernel = jnp.where(both_zero, 1.0, jnp.where(product > 0, kernel, 0.5))
        return _Found(distance, kernel, slope, angle.choose(-size, size))


def _level_weights(n: int) -> dict[int, int]:
    """The coefficients of P_n: squares of those of x^n in Hermite polynomials, times l!."""
    weights = {}
    for i in range(n // 2 + 1):
        level = n - 2 * i
        number = math.factorial(n) // (2**i * math.factorial(i) * math.factorial(level))
        weights[level] = number**2 * math.factorial(level)
    return weights


def _kernel(n: int, angle: Angle) -> Array:
    """2 pi E f(u) f(v) / p^n."""
    gap, cosine = gap_of_order(n, angle.delta, angle.theta), 1 - angle.delta
    even = sum(weight * cosine**level for level, weight in _level_weights(n).items())
    return angle.choose(gap, np.pi * even - (-1) ** n * gap)


def _lack(n: int, angle: Angle) -> Array:
    """What 2 E f(u) f(v) / p^n lacks of m."""
    gap, cosine = gap_of_order(n, angle.delta, angle.theta) / np.pi, 1 - angle.delta
    weights = _level_weights(n)
    total = jnp.zeros_like(cosine)
    for level, weight in weights.items():
        # 1 - c^l = (1 - c)(1 + c + ... + c^(l-1))
        powers = jnp.zeros_like(cosine)
        for _ in range(level):
            powers = powers * cosine + 1
        total += weight * powers
    return angle.choose(sum(weights.values()) - gap, angle.delta * total + (-1) ** n * gap)


@operation
class SignFunction(_OfDirections):
    """f(x) = 1 for x > 0, -1 for x < 0, and 0 for x = 0."""

    is_nonnegative = False
    is_homogeneous = False
    growth = 0

    def variance(self, var: Array) -> Array:
        """1, or 0 for a point of no variance."""
        return jnp.where(var > 0, jnp.ones_like(var), 0.0)

    def _of_angle(self, first: Deviation, second: Deviation, angle: Angle) -> _Found:
        product, turn = first.std * second.std, angle.theta * (2 / np.pi)
        size = product - angle.rest
        alike = 1 - turn
        kernel = angle.choose(-alike, alike)
        lack = 2 * angle.choose(2 - turn, turn)
        # A zero point is at a distance of 1 from all others, and of 0 from zero points.
        scale1, scale2 = first.inverse > 0, second.inverse > 0
        lack = jnp.where(scale1 & scale2, lack, (scale1 | scale2).astype(lack.dtype))
        return _Found(lack, kernel, jnp.zeros_like(kernel), angle.choose(-size, size))
