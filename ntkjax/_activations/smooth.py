r"""What the duals of smooth functions are made of: D = E (u - v)^2, S = E (u + v)^2 and K = E u v.

A pair is known by its variances and its distance D, where points are alike in size, and otherwise
by K and r1 r2 - |K|. Either way all three numbers follow without losing digits:

    S = 2 (v1 + v2) - D,     K = (v1 + v2 - D) / 2,

or, with `near` the lesser one of D and S and `apart` the other,

    near = (r1 - r2)^2 + 2 (r1 r2 - |K|),     apart = near + 4 |K|.

`SmoothActivation` hands them to the formulas of an activation, which are then written once.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ntkjax._kernel.algebra.roots import positive_part, safe_sqrt
from ntkjax._kernel.operations.activation import DualPair, FarPair

#: D above this part of 2 (v1 + v2) leaves S fewer digits than an activation may need.
_NEARLY_OPPOSITE = 1 - 2.0**-8


class Moments(NamedTuple):
    """Of a pair of Gaussians u and v."""

    distance: Array  # D
    supplement: Array  # S
    covariance: Array  # K
    is_far: bool  # whether the points may differ much in size, so that K is small beside D and S

    @classmethod
    def of_distance(
        cls, var1: Array, var2: Array, distance: Array, supplement: Array | None
    ) -> "Moments":
        """Of two points of these variances, with D and, where it is known, S."""
        both = var1 + var2
        if supplement is None:
            supplement = positive_part(2 * both - distance)
        return cls(distance, supplement, 0.5 * (both - distance), False)

    @classmethod
    def of_rest(cls, std1: Array, std2: Array, covariance: Array, rest: Array | None) -> "Moments":
        """Of two points of these standard deviations, with K and, if known, r1 r2 - |K|."""
        size = jnp.abs(covariance)
        if rest is None:
            rest = positive_part(std1 * std2 - size)
        near = jnp.square(std1 - std2) + 2 * rest
        apart, is_acute = near + 4 * size, covariance > 0
        distance, supplement = jnp.where(is_acute, near, apart), jnp.where(is_acute, apart, near)
        return cls(distance, supplement, covariance, True)


class Expectations(NamedTuple):
    """What a function f makes of a pair; what is not used costs nothing."""

    distance: Array  # E (f(u) - f(v))^2
    covariance: Array  # E f(u) f(v)
    slope: Array  # E f'(u) f'(v)


class SmoothPoint(NamedTuple):
    """Of one point: what `SmoothActivation` needs, and what the formulas do."""

    var: Array
    std: Array
    own: Any


class SmoothActivation:
    """The dual of a function that is not homogeneous, from D, S and K.

    A subclass gives `of_point`, `of_pair`, `variance` and `cap`.
    """

    is_homogeneous = False
    steepness = 0.0  # Of D and S, where they are large, nothing depends.

    def of_point(self, var: Array) -> Any:
        """What `of_pair` needs of a point of variance `var`."""
        raise NotImplementedError

    def of_pair(self, first: Any, second: Any, moments: Moments) -> Expectations:
        """The expectations, of what `of_point` made of both points."""
        raise NotImplementedError

    def point(self, var: Array) -> SmoothPoint:
        """The maps of one point."""
        return SmoothPoint(var, safe_sqrt(var), self.of_point(var))

    def wants_supplement(self, first: SmoothPoint, second: SmoothPoint, distance: Array) -> Array:
        """Whether S has lost digits: the pair is nearly opposite."""
        return distance > 2 * _NEARLY_OPPOSITE * (first.var + second.var)

    def pair(
        self,
        first: SmoothPoint,
        second: SmoothPoint,
        distance: Array,
        *,
        supplement: Array | None = None,
        acute: bool = False,
    ) -> DualPair:
        """The expectations of a pair."""
        del acute
        moments = Moments.of_distance(first.var, second.var, distance, supplement)
        found = self.of_pair(first.own, second.own, moments)
        return DualPair(found.distance, found.slope, moments.covariance)

    def far(
        self,
        first: SmoothPoint,
        second: SmoothPoint,
        covariance: Array,
        *,
        rest: Array | None = None,
    ) -> FarPair:
        """The expectations of a pair of points of any sizes."""
        moments = Moments.of_rest(first.std, second.std, covariance, rest)
        found = self.of_pair(first.own, second.own, moments)
        return FarPair(found.covariance, found.slope, found.distance)


def largest_std(dtype: DTypeLike) -> float:
    """A standard deviation whose square is within the dtype, and so is a small multiple of it."""
    return float(jnp.finfo(dtype).max) ** 0.48
