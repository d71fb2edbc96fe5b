r"""The error function f(x) = a erf(b x) + c.

Williams 1997, eq. 11, gives, with v and K the given variances and covariance times 2 b^2,

    E erf(u) erf(v) = 2/pi arcsin(K / sqrt((1 + v1)(1 + v2))),
    E erf'(u) erf'(v) = 4/pi / sqrt((1 + v1)(1 + v2) - K^2).

The distance would be a difference of three arcsines: see `ntkjax._activations.arcsines`, which
makes of it one small angle.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from ntkjax._activations.arcsines import Arc, ArcPair, Arcsine
from ntkjax._kernel.algebra.operation import operation
from ntkjax._kernel.operations.activation import DualPair, FarPair

Scalar = float | Array


class _Point(NamedTuple):
    given: Array  # the variance
    arc: Arc


@operation
class ErrorFunction:
    """f(x) = amplitude * erf(slope * x) + offset."""

    amplitude: Scalar
    slope: Scalar
    offset: Scalar

    is_nonnegative = False
    is_homogeneous = False
    growth = 0

    def cap(self, dtype: DTypeLike) -> Scalar:
        """Standard deviation from which on f(u) is the sign: 2 b^2 v is then beyond the dtype.

        E f(u) f(v) is then that of u cap / r. Of E f'(u) f'(v), whose Gaussians get narrower
        without end, this holds but where u and v are parallel.
        """
        return float(jnp.finfo(dtype).max) ** 0.48 / jnp.maximum(2**0.5 * jnp.abs(self.slope), 1e-9)

    @property
    def steepness(self) -> Scalar:
        """2 b^2: of parallel points that are large, E f'(u) f'(v) is steep."""
        return self._square

    @property
    def _square(self) -> Scalar:
        return 2 * self.slope**2

    def variance(self, var: Array) -> Array:
        """a^2 2/pi arcsin(2 v / (1 + 2 v)) + c^2."""
        return self.amplitude**2 * (2 / np.pi) * self.point(var).arc.angle + self.offset**2

    def point(self, var: Array) -> _Point:
        """The maps of one point, of twice its variance times slope^2."""
        return _Point(var, Arc.of(self._square * var))

    def wants_supplement(self, first: _Point, second: _Point, distance: Array) -> Array:
        """Whether E (u + v)^2 would add digits: see `ArcPair.wants_supplement`."""
        return ArcPair.wants_supplement(first.arc, second.arc, self._square * distance)

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
        supplement = None if supplement is None else self._square * supplement
        arc = ArcPair.of(first.arc, second.arc, self._square * distance, supplement)
        scale = 4 / np.pi * self.amplitude**2
        covariance = 0.5 * (first.given + second.given - distance)
        return DualPair(
            scale * _lack(first, second, arc), scale * self.slope**2 / arc.root, covariance
        )

    def far(
        self, first: _Point, second: _Point, covariance: Array, *, rest: Array | None = None
    ) -> FarPair:
        """The expectations of a pair, relative to the sizes of both points.

        Args:
          first: the one point.
          second: the other.
          covariance: K = E u v.
          rest: r1 r2 - |K|, for the digits of large points that are nearly parallel, and for
            the distance, which is left out without it.
        """
        scale = 4 / np.pi * self.amplitude**2
        covariance, distance = self._square * covariance, None
        rest = None if rest is None else self._square * rest
        arc = Arcsine.of(first.arc, second.arc, covariance, rest)
        if rest is not None:
            pair = ArcPair.of_rest(first.arc, second.arc, covariance, rest, arc)
            distance = scale * _lack(first, second, pair)
        slope = scale * self.slope**2 * (arc.inverse / arc.sine)
        return FarPair(0.5 * scale * arc.gamma + self.offset**2, slope, distance)


def _lack(first: _Point, second: _Point, arc: ArcPair) -> Array:
    """(s1 + s2) / 2 - gamma."""
    return jnp.where(arc.is_negative, first.arc.angle + second.arc.angle - arc.lack(), arc.lack())
