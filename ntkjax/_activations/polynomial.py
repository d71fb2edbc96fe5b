r"""Polynomials f(x) = sum_n c_n x^n, by their Hermite expansions.

With z a standard normal variable, r^2 = v and He_l the Hermite polynomials,

    f(r z) = sum_l A_l r^l He_l(z),     A_l = sum_i c_(l + 2i) (l + 2i)! / (2^i i! l!) v^i,

so that, by Mehler's formula (Han et al. 2022, arXiv 2209.04121, section 3),

    E f(u) f(v) = sum_l l! A_l1 A_l2 K^l,      E f'(u) f'(v) = sum_l l! l A_l1 A_l2 K^(l - 1),
    E f(u)^2 = sum_l l! A_l^2 v^l.

With p = r1 r2 and h_l = A_l r^l the distance is

    E (f(u) - f(v))^2 = sum_l l! ((h_l1 - h_l2)^2 + 2 A_l1 A_l2 (p^l - K^l)).

Where K > 0, p^l - K^l is p - K times p^(l-1) + p^(l-2) K + ... + K^(l-1), and p - K is known
without a difference (see `ntkjax._activations.angle`). Where K < 0, it is that of |K| for even l,
and p^l + |K|^l for odd l.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ntkjax._activations.angle import Angle, Deviation, nearly_opposite
from ntkjax._kernel.algebra.operation import operation, static
from ntkjax._kernel.operations.activation import DualPair, FarPair


class _Point(NamedTuple):
    deviation: Deviation
    parts: dict[int, Array]  # A_l
    sized: dict[int, Array]  # h_l


class _Found(NamedTuple):
    distance: Array
    covariance: Array
    slope: Array
    given: Array  # K


@operation
class Polynomial:
    """f(x) = sum_n c_n x^n, of the degrees n and numbers c_n that are not zero."""

    coefficients: tuple[tuple[int, float], ...] = static()

    steepness = 0.0

    @classmethod
    def of(cls, coefficients: Any) -> "Polynomial":
        """Of c_0, c_1, ..."""
        return cls(tuple((n, float(c)) for n, c in enumerate(coefficients) if c))

    @property
    def growth(self) -> int:
        """The degree."""
        return max((n for n, _ in self.coefficients), default=0)

    @property
    def is_homogeneous(self) -> bool:
        """Whether f is linear."""
        return [n for n, _ in self.coefficients] == [1]

    @property
    def is_nonnegative(self) -> bool:
        """Whether E f(u) f(v) is: that of an even power has even powers of K, all positive."""
        return all(n % 2 == 0 for n, _ in self.coefficients) and len(self.coefficients) <= 1

    def cap(self, dtype: DTypeLike) -> float | None:
        """Where E f(u)^2 comes near the largest number of the dtype; None of a power alone.

        All terms but the last are far below a rounding error there.
        """
        if len(self.coefficients) <= 1:
            return None
        log_most = 0.4 * math.log(float(jnp.finfo(dtype).max))
        logs = [
            (log_most - math.log(abs(c)) - 0.5 * math.lgamma(2 * n + 1)) / n
            for n, c in self.coefficients
            if n
        ]
        return math.exp(min(logs))

    def _expansion(self, var: Array) -> dict[int, Array]:
        """A_l by l, of those that are not zero."""
        parts: dict[int, Array] = {}
        for n, c in self.coefficients:
            for i in range(n // 2 + 1):
                level = n - 2 * i
                number = c * math.factorial(n)
                number /= 2**i * math.factorial(i) * math.factorial(level)
                term = number * var**i
                parts[level] = parts[level] + term if level in parts else term
        return parts

    def variance(self, var: Array) -> Array:
        """sum_l l! A_l^2 v^l."""
        total = jnp.zeros_like(var)
        for level, part in self._expansion(var).items():
            total += math.factorial(level) * (jnp.square(part) * var**level)
        return total

    def point(self, var: Array) -> _Point:
        """The maps of one point."""
        deviation, parts = Deviation.of(var), self._expansion(var)
        return _Point(deviation, parts, {k: a * deviation.std**k for k, a in parts.items()})

    def wants_supplement(self, first: _Point, second: _Point, distance: Array) -> Array:
        """Whether E (u + v)^2 would add digits: the pair is nearly opposite."""
        return nearly_opposite(first.deviation, second.deviation, distance)

    def pair(
        self,
        first: _Point,
        second: _Point,
        distance: Array,
        *,
        supplement: Array | None = None,
        acute: bool = False,
    ) -> DualPair:
        """The expectations of a pair."""
        points = first.deviation, second.deviation
        angle = Angle.of(*points, distance, supplement=supplement, acute=acute)
        made = self._of_angle(first, second, angle)
        return DualPair(made.distance, made.slope, made.given)

    def far(
        self, first: _Point, second: _Point, covariance: Array, *, rest: Array | None = None
    ) -> FarPair:
        """The expectations of a pair of points of any sizes."""
        angle = Angle.of_rest(first.deviation, second.deviation, covariance, rest)
        made = self._of_angle(first, second, angle)
        return FarPair(made.covariance, made.slope, made.distance)

    def _of_angle(self, first: _Point, second: _Point, angle: Angle) -> _Found:
        product = first.deviation.std * second.deviation.std
        size = product - angle.rest  # |K|
        given = angle.choose(-size, size)
        zeros = jnp.zeros_like(size)
        distance, covariance, slope = zeros, zeros, zeros
        for level in sorted(first.parts):
            weight = math.factorial(level) * (first.parts[level] * second.parts[level])
            step = first.sized[level] - second.sized[level]
            distance += math.factorial(level) * jnp.square(step)
            covariance += weight * given**level
            if level:
                slope += level * (weight * given ** (level - 1))
                distance += 2 * weight * _power_gap(angle, product, size, level)
        return _Found(distance, covariance, slope, given)


def _power_gap(angle: Angle, product: Array, size: Array, level: int) -> Array:
    """p^l - K^l."""
    total = jnp.ones_like(product)
    for power in range(1, level):
        total = total * product + size**power
    near = angle.rest * total
    return near if level % 2 == 0 else angle.choose(product**level + size**level, near)


@operation
class HermiteKernel(Polynomial):
    """K <- K^l, the dual of the normalised Hermite polynomial of degree l at unit variances."""

    def _expansion(self, var: Array) -> dict[int, Array]:
        ((level, number),) = self.coefficients
        return {level: jnp.full_like(var, number)}

    @classmethod
    def of_degree(cls, degree: int) -> "HermiteKernel":
        """Of the degree l: A_l^2 = 1 / l!."""
        return cls(((degree, 1 / math.sqrt(math.factorial(degree))),))
