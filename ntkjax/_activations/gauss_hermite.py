r"""Any function f, by a Gauss-Hermite rule of a given degree.

With the nodes x_i and weights w_i of the rule for the density of a standard Gaussian, and
v = (K / r1) x + s y, s^2 = v2 - K^2 / v1,

    E f(u) f(v) = sum_ij w_i w_j f(r1 x_i) f(K / r1 x_i + s x_j),

as in `neural_tangents` (Han et al. 2022, arXiv 2209.04121), and E f(u)^2 by the same rule in one
dimension. The rule treats u and v differently, so that E f(v)^2 comes out in two ways, which agree
where the degree is high enough. The distance is the sum of (f(u) - f(v))^2, which loses no digit
where u and v are near, and the difference of the two where that is more than a rounding error.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import DTypeLike

from ntkjax._activations.angle import Deviation, nearly_opposite
from ntkjax._activations.forward import forwards
from ntkjax._activations.scalar_function import ScalarFunction
from ntkjax._kernel.algebra.boundary import materialized
from ntkjax._kernel.algebra.operation import operation, static
from ntkjax._kernel.algebra.roots import safe_sqrt
from ntkjax._kernel.operations.activation import DualPair, FarPair

#: Differences of so many rounding errors are nothing else.
_NOISE = 64


class _Point(NamedTuple):
    var: Array
    deviation: Deviation
    energy: Array  # E f(u)^2

    @property
    def std(self) -> Array:
        return self.deviation.std


class _Sums(NamedTuple):
    covariance: Array  # of f(u) f(v)
    distance: Array  # of (f(u) - f(v))^2
    energy: Array  # of f(v)^2
    slope: Array  # of f'(u) f'(v)


@operation
class GaussHermite:
    """Any function, by deg^2 nodes for a pair."""

    function: ScalarFunction = static()
    degree: int = static()

    is_nonnegative = False
    is_homogeneous = False
    is_uniform = True
    growth = 0

    def cap(self, dtype: DTypeLike) -> float:
        """No point counts as infinitely large, since nothing is known of f there."""
        del dtype
        return np.inf

    def _nodes(self, dtype: DTypeLike, ndim: int) -> tuple[Array, Array]:
        """Nodes and weights, before `ndim` axes."""
        nodes, weights = np.polynomial.hermite.hermgauss(self.degree)
        shape = (self.degree,) + (1,) * ndim
        nodes, weights = np.sqrt(2) * nodes, weights / np.sqrt(np.pi)
        return jnp.asarray(nodes.reshape(shape), dtype), jnp.asarray(weights.reshape(shape), dtype)

    def variance(self, var: Array) -> Array:
        """The sum of w f(r x)^2."""
        nodes, weights = self._nodes(var.dtype, var.ndim)
        return jnp.sum(weights * jnp.square(self.function(safe_sqrt(var)[None] * nodes)), 0)

    def point(self, var: Array) -> _Point:
        """Variance and standard deviation, before and after f."""
        return _Point(var, Deviation.of(var), self.variance(var))

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
        del acute
        product, across = first.std * second.std, jnp.square(first.std - second.std)
        rest = jnp.maximum(0.5 * (distance - across), 0.0)
        if supplement is not None:
            opposite = jnp.maximum(0.5 * (supplement - across), 0.0)
            rest = jnp.where(rest > product, opposite, rest)
        else:
            rest = jnp.where(rest > product, 2 * product - rest, rest)
        covariance = 0.5 * (first.var + second.var - distance)
        made = self.far(first, second, covariance, rest=rest)
        assert made.distance is not None
        return DualPair(made.distance, made.slope, covariance)

    def far(
        self, first: _Point, second: _Point, covariance: Array, *, rest: Array | None = None
    ) -> FarPair:
        """The expectations of a pair; `rest` is r1 r2 - |K|, for the digits of parallel points."""
        if rest is None:
            rest = jnp.maximum(first.std * second.std - jnp.abs(covariance), 0.0)
        sign = jnp.where(covariance < 0, -1.0, 1.0).astype(covariance.dtype)
        arrays = jnp.broadcast_arrays(first.std, second.std, rest, sign)
        made = forwards(functools.partial(_sums, self))(*arrays)
        lack = second.energy - made.energy
        noise = _NOISE * float(jnp.finfo(lack.dtype).eps) * second.energy
        lack = jnp.where(jnp.abs(lack) > noise, lack, 0.0)
        return FarPair(made.covariance, made.slope, made.distance + lack)


def _sums(rule: GaussHermite, r1: Array, r2: Array, rest: Array, sign: Array) -> _Sums:
    """The sums over both nodes."""
    product = r1 * r2
    positive = product > 0
    delta = jnp.where(positive, rest / jnp.where(positive, product, 1.0), 1.0)
    onto = r2 * (sign * (1 - delta))  # K / r1
    across = r2 * safe_sqrt(delta * (2 - delta))
    rules = rule._nodes(r1.dtype, 0)

    def of_v(total: _Sums, node: tuple[Array, Array], given: tuple[Array, ...]) -> _Sums:
        (y, weight), (of_u, mean) = node, given
        # Stored, or XLA on CPU would make f(v) once for each sum.
        value, slope = materialized(
            lambda of: rule.function.with_slope(of[0] + of[1] * of[2]), (mean, across, y)
        )
        terms = _Sums(value, jnp.square(of_u - value), jnp.square(value), slope)
        return _Sums(*(t + weight * term for t, term in zip(total, terms, strict=True)))

    def of_u(total: _Sums, node: tuple[Array, Array]) -> tuple[_Sums, None]:
        x, weight = node
        value, slope = rule.function.with_slope(r1 * x)
        given = value, onto * x
        made, _ = lax.scan(lambda sums, node: (of_v(sums, node, given), None), like, rules)
        terms = _Sums(value * made.covariance, made.distance, made.energy, slope * made.slope)
        return _Sums(*(t + weight * term for t, term in zip(total, terms, strict=True))), None

    like = _Sums(*[jnp.zeros_like(r1)] * 4)
    return lax.scan(of_u, like, rules)[0]
