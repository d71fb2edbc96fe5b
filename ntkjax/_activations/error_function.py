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

from ntkjax._activations.arcsines import Arc, ArcPair
from ntkjax._kernel.algebra.operation import operation
from ntkjax._kernel.operations.pointwise import DualPair

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

    def variance(self, var: Array) -> Array:
        """a^2 2/pi arcsin(2 v / (1 + 2 v)) + c^2."""
        return self.amplitude**2 * (2 / np.pi) * self.point(var).arc.angle + self.offset**2

    def point(self, var: Array) -> _Point:
        """The maps of one point, of twice its variance times slope^2."""
        return _Point(var, Arc.of(2 * self.slope**2 * var))

    def wants_supplement(self, first: _Point, second: _Point, distance: Array) -> Array:
        """Whether E (u + v)^2 would add digits: see `ArcPair.wants_supplement`."""
        return ArcPair.wants_supplement(first.arc, second.arc, 2 * self.slope**2 * distance)

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
        slope2 = 2 * self.slope**2
        if supplement is not None:
            supplement = slope2 * supplement
        arc = ArcPair.of(first.arc, second.arc, slope2 * distance, supplement)
        scale = 4 / np.pi * self.amplitude**2
        both = first.arc.angle + second.arc.angle
        angle = jnp.where(arc.is_negative, both - arc.lack(), arc.lack())
        covariance = 0.5 * (first.given + second.given - distance)
        return DualPair(scale * angle, scale * self.slope**2 / arc.root, covariance)
