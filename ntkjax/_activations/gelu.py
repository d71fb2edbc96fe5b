r"""The Gaussian error linear unit f(x) = x Phi(x), with Phi the normal distribution function.

f(x) = x / 2 + h(x) with h even, so that the two do not mix. With gamma, s, a, T, U, z, root as in
`ntkjax._activations.arcsines` and i = 1 / (1 + v), Tsuchida et al. 2021 (arXiv 2002.08517) give

    2 pi E h(u) h(v) = K gamma + (K^2 + v1 v2 root^2) / ((1 + v1)(1 + v2) root)
                     = K gamma + 1 / root + (1 - i1 - i2) root,
    2 pi E h'(u) h'(v) = gamma + K / root (1 / root^2 + i1 + i2),
    2 pi E h(u)^2 = v (s + 2 v / ((1 + v) sqrt(1 + 2 v))).

Of the distance of h nothing need cancel, by K = (v1 + v2 - D) / 2 and root - T = z (U + K). It is,
for K >= 0 and, since h is even, with |K| and the D of (u, -v) for K < 0,

    2 pi E (h(u) - h(v))^2 = D (s1 + s2) / 2 + (v1 - v2)(s1 - s2) / 2 + 2 (i2 - i1)(a1 - a2)
        + 2 (T (root - T) + (a1 - a2)^2) / ((1 + 2 a1)(1 + 2 a2) root)
        + 2 z ((i1 + i2)(U + K) - (U - K) - 2 K (z - arctan z) / z).

No term exceeds a small multiple of D, whatever the variances, and D / 4 of x / 2 is added to them.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from ntkjax._activations.arcsines import Arc, ArcPair, Arcsine
from ntkjax._kernel.algebra.operation import operation
from ntkjax._kernel.operations.activation import DualPair, FarPair


class _Point(NamedTuple):
    var: Array
    arc: Arc
    inverse: Array  # i
    tail: Array  # 1 / (1 + 2 a)


@operation
class GaussianErrorLinear:
    """f(x) = x Phi(x)."""

    is_nonnegative = False
    is_homogeneous = False
    growth = 1
    steepness = 1.0

    @staticmethod
    def cap(dtype: DTypeLike) -> float:
        """Standard deviation from which on f(u) and f'(u) are those of a rectifier.

        E f(u) f(v) is then r / cap times, and E f'(u) f'(v) is, that of u cap / r, to within a
        rounding error, which is the inverse of cap.
        """
        return 4 / float(jnp.finfo(dtype).eps)

    def variance(self, var: Array) -> Array:
        """E (u / 2)^2 + E h(u)^2."""
        point = self.point(var)
        even = point.arc.angle + 2 * (1 - point.inverse) * point.tail
        return var * (0.25 + even / (2 * np.pi))

    def point(self, var: Array) -> _Point:
        """The maps of one point."""
        arc = Arc.of(var)
        return _Point(var, arc, 1 / (1 + var), 1 / (1 + 2 * arc.offset))

    def wants_supplement(self, first: _Point, second: _Point, distance: Array) -> Array:
        """Whether E (u + v)^2 would add digits: see `ArcPair.wants_supplement`."""
        return ArcPair.wants_supplement(first.arc, second.arc, distance)

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
        arc = ArcPair.of(first.arc, second.arc, distance, supplement)
        upright = 1 / arc.root
        size = arc.along - arc.below  # |K|
        gamma = 0.5 * (first.arc.angle + second.arc.angle) - arc.lack()
        turn = gamma + size * upright * (jnp.square(upright) + first.inverse + second.inverse)
        turn = jnp.where(arc.is_negative, -turn, turn) / (2 * np.pi)
        return DualPair(_distance(first, second, arc), 0.25 + turn, arc.covariance())

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
        arc = Arcsine.of(first.arc, second.arc, covariance, rest)
        size1, size2 = first.var * first.arc.inverse, second.var * second.arc.inverse
        upright = arc.inverse / arc.sine
        even = covariance * arc.gamma
        even += jnp.square(arc.cosine) * upright + size1 * size2 * arc.sine
        turn = arc.cosine / arc.sine * (jnp.square(upright) + first.inverse + second.inverse)
        distance = None
        if rest is not None:
            near = ArcPair.of_rest(first.arc, second.arc, covariance, rest, arc)
            distance = _distance(first, second, near)
        covariance = 0.25 * covariance + even / (2 * np.pi)
        return FarPair(covariance, 0.25 + (arc.gamma + turn) / (2 * np.pi), distance)


def _distance(first: _Point, second: _Point, arc: ArcPair) -> Array:
    """E (f(u) - f(v))^2."""
    step = first.arc.offset - second.arc.offset
    angle = 0.5 * (first.arc.angle + second.arc.angle)
    inverses = first.inverse + second.inverse
    # Of the points alone: small where the variances are alike.
    apart = 0.5 * (first.var - second.var) * (first.arc.angle - second.arc.angle)
    apart += 2 * (second.inverse - first.inverse) * step

    size = arc.along - arc.below  # |K|
    square = jnp.square(arc.tangent)
    beyond = arc.along + size
    near = 2 * (arc.step2 + arc.below)  # the distance, of (u, -v) where that is nearer
    upright = 1 / arc.root
    ratio = arc.across * arc.tangent * beyond + arc.step2
    even = near * angle + apart + 2 * ratio * first.tail * second.tail * upright
    even += 2 * arc.tangent * (inverses * beyond - arc.below - 2 * size * square * arc.deficit)
    both = 2 * (first.var + second.var)
    odd = jnp.where(arc.is_negative, both - near, near)
    return 0.25 * odd + even / (2 * np.pi)
