r"""The exponential f(x) = a exp(b x), and the normalised exponential kernel.

With the given D and v times b^2, and s = a exp(v),

    E f(u) f(v) = a^2 exp((v1 + v2) / 2 + K) = s1 s2 exp(-D/2),     E f(u)^2 = s^2,
    E (f(u) - f(v))^2 = (s1 - s2)^2 + 2 s1 s2 (1 - exp(-D/2)),

from E exp(u) = exp(v/2); E f'(u) f'(v) is b^2 times the first. No term cancels another.

The normalised one is no function's dual at all variances. Of the angle of two points, with
delta = 1 - cos(theta) and G = exp(gamma (1 + shift)),

    K' = r1 r2 exp(gamma (cos(theta) + shift)) = G r1 r2 exp(-gamma delta),
    D' = G ((r1 - r2)^2 + 2 r1 r2 (1 - exp(-gamma delta))),

and the tangent kernel is multiplied by G gamma exp(-gamma delta): Shankar et al. 2020, arXiv
2003.02237, section 3.
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ntkjax._activations.angle import Angle, Deviation
from ntkjax._activations.one_minus_exp import one_minus_exp
from ntkjax._activations.smooth import (
    Expectations,
    Moments,
    SmoothActivation,
    largest_std,
)
from ntkjax._kernel.algebra.operation import operation
from ntkjax._kernel.operations.activation import DualPair

Scalar = float | Array


@operation
class Exponential(SmoothActivation):
    """f(x) = a exp(b x)."""

    amplitude: Scalar
    rate: Scalar

    is_nonnegative = True
    takes_supplement = False
    #: That of the exponential in float32 where its kernel reaches the largest number.
    growth = 88

    def cap(self, dtype: DTypeLike) -> Array:
        """Where the kernel of a point with itself comes within a factor of 2 of the largest number.

        Larger points, whose kernels are infinite, grow as a power from there.
        """
        most = 0.45 * float(jnp.finfo(dtype).max)
        square = jnp.maximum(jnp.square(jnp.asarray(self.amplitude, dtype)), 1e-30)
        exponent = jnp.maximum(jnp.log(most) - jnp.log(square), 1e-2)
        rate = jnp.maximum(jnp.abs(jnp.asarray(self.rate, dtype)), 1e-9)
        return jnp.minimum(jnp.sqrt(0.5 * exponent) / rate, largest_std(dtype))

    def variance(self, var: Array) -> Array:
        """a^2 exp(2 b^2 v)."""
        return jnp.square(self.of_point(var))

    def of_point(self, var: Array) -> Array:
        """A exp(b^2 v)."""
        return self.amplitude * jnp.exp(self.rate**2 * var)

    def of_pair(self, first: Array, second: Array, moments: Moments) -> Expectations:
        """The expectations."""
        lack = one_minus_exp(0.5 * self.rate**2 * moments.distance)
        product = first * second
        covariance = product - product * lack
        return Expectations(
            distance=jnp.square(first - second) + 2 * (product * lack),
            covariance=covariance,
            slope=self.rate**2 * covariance,
        )


@operation
class NormalizedExponential:
    """K <- r1 r2 exp(gamma (cos(theta) + shift))."""

    gamma: Scalar
    shift: Scalar

    is_nonnegative = True
    is_homogeneous = True
    takes_supplement = False  # nothing is steep at opposite points
    growth = 1

    @property
    def _size(self) -> Array:
        return jnp.exp(self.gamma * jnp.asarray(1 + self.shift))

    def variance(self, var: Array) -> Array:
        """G v."""
        return self._size.astype(var.dtype) * var

    def point(self, var: Array) -> Deviation:
        """Standard deviation and its inverse."""
        return Deviation.of(var)

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
        product, size = first.std * second.std, self._size.astype(distance.dtype)
        angle = Angle.of(first, second, distance, supplement=supplement, acute=acute)
        delta = angle.choose(2 - angle.delta, angle.delta)
        lack = one_minus_exp(self.gamma * delta)
        return DualPair(
            distance=size * (jnp.square(first.std - second.std) + 2 * product * lack),
            slope=size * (self.gamma * (1 - lack)),
            covariance=angle.choose(angle.rest - product, product - angle.rest),
        )
