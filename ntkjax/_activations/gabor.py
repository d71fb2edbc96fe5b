r"""The Gabor function f(x) = exp(-x^2) sin(x).

The density of (u, v) times exp(-u^2 - v^2) is that of another Gaussian pair, over R, where in the
words of `ntkjax._activations.determinants` the factor is 2. Of the sines of that pair,

    E f(u) f(v) = exp(-A) (1 - exp(-2 k)) / (2 R),     E f(u)^2 = (1 - exp(-2 n)) / (2 t),
    E f'(u) f'(v) = exp(-A) (p + q + (p - q) exp(-2 k)) / (2 R),
    k = |K| / M,     n = v / t^2,     p = 1 / M + 8 k^2,     q = 4 k (1 + (1 + v1 + v2) / M),
    A = (D + 4 (v1 v2 - K^2)) / (2 M) = (U - |K|)(1 + U + |K|) / (2 M),

with v, K, D as given, with 2 v and 2 K in U, M and t, and for K < 0 of the opposite sign and with D
of (u, -v). With h^2 = exp(-2 n) / t, twice the distance is for K >= 0

    1 / t1 + 1 / t2 - 2 / R + 2 / R (1 - exp(-A)) - (h1 - h2)^2 + 2 h1 h2 (exp(L) - 1),
    L = n1 + n2 - A - 2 k + log(P / M) / 2
      = D / (2 M) - X / (2 M P) - (1 / t1 - 1 / t2)^2 / 4 - log(1 + X / P) / 2,

all terms of which are small where points are near, and D = U - |K| + (a1 - a2)^2.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ntkjax._activations.arcsines import Arc, ArcPair
from ntkjax._activations.determinants import BellActivation, Determinant, Expectations
from ntkjax._activations.one_minus_exp import one_minus_exp
from ntkjax._kernel.algebra.operation import operation
from ntkjax._kernel.algebra.roots import safe_sqrt


class _Point(NamedTuple):
    var: Array
    std: Array
    arc: Arc
    inverse: Array  # 1 / t
    half: Array  # h
    energy: Array  # E f(u)^2


@operation
class Gabor(BellActivation):
    """f(x) = exp(-x^2) sin(x)."""

    is_nonnegative = False

    @property
    def factor(self) -> float:
        """That of exp(-u^2 - v^2)."""
        return 2.0

    def point(self, var: Array) -> _Point:
        """The maps of one point."""
        arc = Arc.of(2 * var)
        inverse = 1 / (1 + 2 * arc.offset)
        exponent = var * jnp.square(inverse)
        half = jnp.sqrt(inverse) * jnp.exp(-exponent)
        energy = -0.5 * inverse * jnp.expm1(-2 * exponent)
        return _Point(var, safe_sqrt(var), arc, inverse, half, energy)

    def variance(self, var: Array) -> Array:
        """(1 - exp(-2 n)) / (2 t)."""
        return self.point(var).energy

    def of_pair(
        self, first: _Point, second: _Point, arc: ArcPair, made: Determinant
    ) -> Expectations:
        """The expectations."""
        upright, k = made.upright, jnp.abs(made.covariance) * made.flat
        lack = one_minus_exp(0.5 * arc.below * (1 + made.beyond) * made.flat)  # 1 - exp(-A)
        decay, far = 0.5 * upright * (1 - lack), one_minus_exp(2 * k)
        size, both = decay * far, first.energy + second.energy
        near = _near_distance(first, second, arc, made, lack)
        # Of points that differ much, the terms of the distance are larger than it is.
        near = jnp.where(4 * size < both, both - 2 * size, near)
        p = made.flat + 8 * jnp.square(k)
        q = 4 * k * (1 + (1 + first.var + second.var) * made.flat)
        return Expectations(
            distance=jnp.where(arc.is_negative, both + 2 * size, near),
            covariance=jnp.where(arc.is_negative, -size, size),
            slope=decay * (p + q + (p - q) * (1 - far)),
        )


def _near_distance(
    first: _Point, second: _Point, arc: ArcPair, made: Determinant, lack: Array
) -> Array:
    """E (f(u) - f(v))^2, of (u, -v) where K < 0."""
    flat, part = made.flat, made.excess * made.inverses
    exponent = 0.5 * flat * (arc.below + arc.step2 - part)
    exponent += -0.25 * jnp.square(first.inverse - second.inverse) - 0.5 * jnp.log1p(part)
    twice = made.gap + 2 * made.upright * lack - jnp.square(first.half - second.half)
    return 0.5 * twice + first.half * second.half * jnp.expm1(exponent)
