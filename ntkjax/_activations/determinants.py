r"""What the duals of exp(b x^2) and exp(-x^2) sin(x) are made of: a determinant.

With variances and covariance times a factor of the function, it is

    M = R^2 = (1 + v1)(1 + v2) - K^2.

In the words of `ntkjax._activations.arcsines`, with t = 1 + 2 a = sqrt(1 + 2 v), T = (t1 + t2) / 2,
2 U + 1 = P = t1 t2 and T^2 = P + (a1 - a2)^2, this is T^2 + (U - |K|)(U + |K|), so that

    X = M - P = (a1 - a2)^2 + (U - |K|)(U + |K|),     R - T = z (U + |K|),
    1 / t1 + 1 / t2 - 2 / R = 2 (T (R - T) + (a1 - a2)^2) / (P R).
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ntkjax._activations.arcsines import Arc, ArcPair, Arcsine
from ntkjax._kernel.algebra.roots import positive_part, safe_sqrt
from ntkjax._kernel.operations.activation import DualPair, FarPair

Scalar = float | Array


class Bell(NamedTuple):
    """Of one point."""

    var: Array  # as given
    std: Array
    arc: Arc  # of the factor times v
    inverse: Array  # 1 / t


class Determinant(NamedTuple):
    """Of a pair."""

    covariance: Array  # K, as given
    flat: Array  # 1 / M
    upright: Array  # 1 / R
    inverses: Array  # 1 / P
    beyond: Array  # U + |K|
    gap: Array  # 1 / t1 + 1 / t2 - 2 / R
    excess: Array  # X

    @classmethod
    def of(cls, first: Bell, second: Bell, covariance: Array, arc: ArcPair) -> "Determinant":
        """Of two points, of their `ArcPair`."""
        upright, inverses = 1 / arc.root, first.inverse * second.inverse
        beyond = 2 * arc.along - arc.below
        gap = 2 * (arc.across * arc.tangent * beyond + arc.step2) * inverses * upright
        excess = arc.step2 + arc.below * beyond
        return cls(covariance, jnp.square(upright), upright, inverses, beyond, gap, excess)


class Expectations(NamedTuple):
    """What a function f makes of a pair; what is not used costs nothing."""

    distance: Array  # E (f(u) - f(v))^2
    covariance: Array  # E f(u) f(v)
    slope: Array  # E f'(u) f'(v)


class BellActivation:
    """The dual of a function which decays as a Gaussian, from its determinant.

    A subclass gives `factor`, `variance` and `of_pair`.
    """

    is_homogeneous = False
    growth = 0

    @property
    def factor(self) -> Scalar:
        """That of variances and covariances in M."""
        raise NotImplementedError

    @property
    def steepness(self) -> Scalar:
        """The factor: of large points, all depends on X, which D gives to eps factor D only."""
        return self.factor

    def of_pair(self, first: Bell, second: Bell, arc: ArcPair, made: Determinant) -> Expectations:
        """The expectations."""
        raise NotImplementedError

    def cap(self, dtype: DTypeLike) -> Any:
        """Larger points, of products of variances beyond the dtype, count as this large."""
        return float(jnp.finfo(dtype).max) ** 0.23 / jnp.maximum(self.factor, 1e-9) ** 0.5

    def point(self, var: Array) -> Bell:
        """The maps of one point."""
        arc = Arc.of(self.factor * var)
        return Bell(var, safe_sqrt(var), arc, 1 / (1 + 2 * arc.offset))

    def wants_supplement(self, first: Bell, second: Bell, distance: Array) -> Array:
        """Whether E (u + v)^2 would add digits: the pair is nearly opposite."""
        return distance > (2 - 2.0**-7) * (first.var + second.var)

    def pair(
        self,
        first: Bell,
        second: Bell,
        distance: Array,
        *,
        supplement: Array | None = None,
        acute: bool = False,
    ) -> DualPair:
        """The expectations of a pair."""
        del acute
        factor, covariance = self.factor, 0.5 * (first.var + second.var - distance)
        supplement = None if supplement is None else factor * supplement
        arc = ArcPair.of(first.arc, second.arc, factor * distance, supplement)
        made = Determinant.of(first, second, covariance, arc)
        found = self.of_pair(first, second, arc, made)
        return DualPair(found.distance, found.slope, covariance)

    def far(
        self, first: Bell, second: Bell, covariance: Array, *, rest: Array | None = None
    ) -> FarPair:
        """The expectations of a pair of points of any sizes."""
        if rest is None:
            rest = positive_part(first.std * second.std - jnp.abs(covariance))
        given, rest = self.factor * covariance, self.factor * rest
        arcsine = Arcsine.of(first.arc, second.arc, given, rest)
        arc = ArcPair.of_rest(first.arc, second.arc, given, rest, arcsine)
        made = Determinant.of(first, second, covariance, arc)
        found = self.of_pair(first, second, arc, made)
        return FarPair(found.covariance, found.slope, found.distance)
