r"""The Gaussian f(x) = a exp(b x^2), with b <= 0.

In the words of `ntkjax._activations.determinants`, with the factor s = -2 b and K as given,

    E f(u) f(v) = a^2 / R,      E f(u)^2 = a^2 / t,      E f'(u) f'(v) = a^2 s^2 K / R^3,
    E (f(u) - f(v))^2 = a^2 (1 / t1 + 1 / t2 - 2 / R)

(Williams 1997, eq. 13, whose network of Gaussians this is the layer of).
"""

from jax import Array

from ntkjax._activations.arcsines import ArcPair
from ntkjax._activations.determinants import (
    Bell,
    BellActivation,
    Determinant,
    Expectations,
    Scalar,
)
from ntkjax._kernel.algebra.operation import operation


@operation
class Gaussian(BellActivation):
    """f(x) = a exp(b x^2)."""

    amplitude: Scalar
    exponent: Scalar

    is_nonnegative = True

    @property
    def factor(self) -> Scalar:
        """-2 b."""
        return -2 * self.exponent

    def variance(self, var: Array) -> Array:
        """a^2 / t."""
        return self.amplitude**2 * self.point(var).inverse

    def of_pair(self, first: Bell, second: Bell, arc: ArcPair, made: Determinant) -> Expectations:
        """The expectations."""
        square = self.amplitude**2
        slope = square * self.factor**2 * made.covariance * made.upright * made.flat
        return Expectations(square * made.gap, square * made.upright, slope)
