r"""Any function f, by a Hermite series that is cut off.

With the normalised Hermite polynomials h_k, a_k(r) = E f(r x) h_k(x) and b_k(r) = E f'(r x) h_k(x)
of a standard Gaussian x, and the correlation c,

    E f(u) f(v) = sum_k a_k(r1) a_k(r2) c^k,    E f'(u) f'(v) = sum_k b_k(r1) b_k(r2) c^k,
    E (f(u) - f(v))^2 = sum_k (a_k(r1) - a_k(r2))^2 + 2 a_k(r1) a_k(r2) (1 - c^k),

(Han et al. 2022, arXiv 2209.04121, section 3). The coefficients belong to one point each, so that a
pair costs a few multiplications for each degree. Of a series cut off after degree n, by Parseval's
and Cauchy's theorems, what is left out is at most

    |c|^(n + 1) sqrt(t(r1) t(r2)),    t(r) = E f(r x)^2 - sum_(k <= n) a_k(r)^2.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from ntkjax._activations.angle import Deviation
from ntkjax._activations.quadrature import Rule, point_expectations
from ntkjax._activations.scalar_function import ScalarFunction
from ntkjax._kernel.algebra.operation import operation, static
from ntkjax._kernel.algebra.roots import clipped, positive_part, safe_sqrt
from ntkjax._kernel.operations.activation import DualPair, FarPair

#: Nodes of each interval: they resolve polynomials of the largest degree.
_NODES, LARGEST = 40, 64


class _Point(NamedTuple):
    var: Array
    deviation: Deviation
    values: tuple[Array, ...]  # a_k
    slopes: tuple[Array, ...]  # b_k

    @property
    def std(self) -> Array:
        return self.deviation.std


def _hermite(x: Array, degree: int) -> list[Array]:
    found = [jnp.ones_like(x), x]
    for k in range(2, degree + 1):
        found.append((x * found[-1] - np.sqrt(k - 1) * found[-2]) / np.sqrt(k))
    return found[: degree + 1]


def _squares(terms: tuple[Array, ...]) -> Array:
    return functools.reduce(jnp.add, map(jnp.square, terms))


@operation
class HermiteSeries:
    """Any function, by the first terms of its series."""

    function: ScalarFunction = static()
    name: str = static()
    degree: int = static()

    is_nonnegative = False
    is_homogeneous = False
    is_uniform = True
    takes_supplement = False  # a polynomial of the correlation is as exact without
    growth = 0

    def cap(self, dtype: DTypeLike) -> float:
        """No point counts as infinitely large, since nothing is known of f there."""
        del dtype
        return np.inf

    def variance(self, var: Array) -> Array:
        """The sum of a_k^2, so that it is that of equal points."""
        return _squares(self.point(var).values)

    def point(self, var: Array) -> _Point:
        """Standard deviation and coefficients."""

        def products(x: Array, value: Array, slope: Array) -> tuple[tuple[Array, ...], ...]:
            polynomials = _hermite(x, self.degree)
            return tuple(value * h for h in polynomials), tuple(slope * h for h in polynomials[:-1])

        rule = Rule(_NODES, Rule.of(var.dtype).reach)
        pieces = self.function.pieces(self.name, var.dtype)
        made = point_expectations(self.function, pieces, rule, safe_sqrt(var), products)
        return _Point(var, Deviation.of(var), *made)

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
        del acute, supplement
        product, across = first.std * second.std, jnp.square(first.std - second.std)
        rest = clipped(0.5 * (distance - across), 2 * product)
        _, slope, lack = self._of_rest(first, second, rest)
        return DualPair(lack, slope, 0.5 * (first.var + second.var - distance))

    def far(
        self, first: _Point, second: _Point, covariance: Array, *, rest: Array | None = None
    ) -> FarPair:
        """The expectations of a pair; `rest` is r1 r2 - |K|, for the digits of parallel points."""
        product, size = first.std * second.std, jnp.abs(covariance)
        if rest is None:
            rest = positive_part(product - size)
        rest = jnp.where(covariance < 0, product + size, rest)
        return FarPair(*self._of_rest(first, second, rest))

    def _of_rest(self, first: _Point, second: _Point, rest: Array) -> tuple[Array, Array, Array]:
        """E f f, E f' f' and E (f - f)^2, of r1 r2 - K."""
        scale = first.deviation.inverse * second.deviation.inverse
        below = jnp.where(scale > 0, clipped(rest * scale, 2.0), 1.0)  # 1 - c
        cosine = 1 - below
        power, lack = jnp.ones_like(below), jnp.zeros_like(below)  # c^k, (1 - c^k) / (1 - c)
        value, distance, slope = (jnp.zeros_like(below) for _ in range(3))
        for k, (a1, a2) in enumerate(zip(first.values, second.values, strict=True)):
            both = a1 * a2
            value += both * power
            distance += jnp.square(a1 - a2) + 2 * both * (below * lack)
            if k < self.degree:
                slope += first.slopes[k] * second.slopes[k] * power
            power, lack = power * cosine, 1 + cosine * lack
        return value, slope, distance

    def error(self, cov12: Array, var1: Array, var2: Array) -> tuple[Array, Array]:
        """Bounds of what the series leave out of E f(u) f(v) and E f'(u) f'(v)."""
        product = safe_sqrt(var1) * safe_sqrt(var2)
        cosine = jnp.abs(cov12) / jnp.where(product > 0, product, 1.0)
        left = []
        for var in (var1, var2):
            point = self.point(var)
            energies = self._energies(var)
            sums = map(_squares, (point.values, point.slopes))
            noise = 64 * float(jnp.finfo(var.dtype).eps)
            left.append(
                [jnp.maximum(e - s, 0) + noise * e for e, s in zip(energies, sums, strict=True)]
            )
        value, slope = (jnp.sqrt(a) * jnp.sqrt(b) for a, b in zip(*left, strict=True))
        return value * cosine ** (self.degree + 1), slope * cosine**self.degree

    def _energies(self, var: Array) -> tuple[Array, Array]:
        """E f(u)^2 and E f'(u)^2."""
        pieces = self.function.pieces(self.name, var.dtype)
        return point_expectations(
            self.function, pieces, Rule.of(var.dtype), safe_sqrt(var),
            lambda x, value, slope: (jnp.square(value), jnp.square(slope)),
        )  # fmt: skip
