r"""Rectifiers f(x) = a min(x, 0) + b max(x, 0): ReLU, leaky ReLU, absolute value.

With variances r1^2, r2^2, angle theta and gap g = sin(theta) - theta cos(theta) (the arc-cosine
kernels of Cho & Saul 2009, eq. 6-8, written for distances and for two slopes):

    E f(u)^2         = (a^2 + b^2) / 2 v
    E (f(u) - f(v))^2 = (a^2 + b^2) / 2 D - (b - a)^2 / pi r1 r2 g
    E f'(u) f'(v)    = (a^2 + b^2) / 2 - (b - a)^2 / (2 pi) theta

where delta = 1 - cos(theta) = (D - (r1 - r2)^2) / (2 r1 r2). Of the supplement t = pi - theta of an
obtuse angle, with its own delta and gap,

    E (f(u) - f(v))^2 = (a^2 + b^2) / 2 (r1 - r2)^2
                        + r1 r2 ((a + b)^2 - 2 a b delta - (b - a)^2 / pi g)
    E f'(u) f'(v)    = a b + (b - a)^2 / (2 pi) t.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._activations.angle import Angle, Deviation, nearly_opposite
from ntkjax._kernel.algebra.operation import operation, static
from ntkjax._kernel.operations.pointwise import DualPair

Scalar = float | Array


@operation
class Rectifier:
    """f(x) = a min(x, 0) + b max(x, 0)."""

    negative_slope: Scalar
    positive_slope: Scalar
    is_nonnegative: bool = static(default=False)

    is_homogeneous = True
    growth = 1

    def _mean_square(self) -> Scalar:
        return (self.negative_slope**2 + self.positive_slope**2) / 2

    def variance(self, var: Array) -> Array:
        """(a^2 + b^2) / 2 v."""
        return self._mean_square() * var

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
        a, b = self.negative_slope, self.positive_slope
        product = first.std * second.std
        across = jnp.square(first.std - second.std)
        angle = Angle.of(first, second, distance, supplement=supplement, acute=acute)
        kink, turn = (b - a) ** 2 / np.pi, (b - a) ** 2 / (2 * np.pi) * angle.theta
        # The distance again, of the angle: what made the angle need not be made twice.
        opposed = (a + b) ** 2 * product - 2 * a * b * angle.rest
        along = angle.choose(opposed, (a**2 + b**2) * angle.rest)
        return DualPair(
            distance=self._mean_square() * across + along - kink * angle.gap,
            slope=angle.choose(a * b + turn, self._mean_square() - turn),
            covariance=angle.choose(angle.rest - product, product - angle.rest),
        )
