r"""Sines and cosines f(x) = a sin(b x + c), by their odd and even parts, which do not mix.

f(x) = o sin(b x) + e cos(b x) with o = a cos(c) and e = a sin(c). With the given D, S, K and v
times b^2,

    E sin u sin v = (exp(-D/2) - exp(-S/2)) / 2,      E cos u cos v = (exp(-D/2) + exp(-S/2)) / 2,
    E sin^2 u = (1 - exp(-2 v)) / 2,                  E cos^2 u = (1 + exp(-2 v)) / 2,

(Rahimi & Recht 2007, from E exp(i (u - v)) = exp(-D/2)). The distances, without a difference of
numbers that are alike, are

    E (sin u - sin v)^2 = (1 - exp(-D/2)) (1 + exp(-S/2)) - (exp(-v1) - exp(-v2))^2 / 2,
    E (cos u - cos v)^2 = (1 - exp(-D/2)) (1 - exp(-S/2)) + (exp(-v1) - exp(-v2))^2 / 2.

The first term of the sines is at least twice the second: of parallel points, whose sizes alone
differ, it is D (1 + exp(-2 v)) and the second is 2 v exp(-2 v) D.
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ntkjax._activations.one_minus_exp import one_minus_exp
from ntkjax._activations.smooth import Expectations, Moments, SmoothActivation, largest_std
from ntkjax._kernel.algebra.operation import operation, static

Scalar = float | Array


@operation
class Sinusoid(SmoothActivation):
    """f(x) = o sin(b x) + e cos(b x), of o^2, e^2 and b^2."""

    odd: Scalar
    even: Scalar
    square: Scalar
    is_nonnegative: bool = static(default=False)

    growth = 0

    def cap(self, dtype: DTypeLike) -> Scalar:
        """Larger points have squares beyond the dtype; of two of them, the directions count."""
        return largest_std(dtype) / jnp.maximum(jnp.sqrt(jnp.asarray(self.square, dtype)), 1e-9)

    def variance(self, var: Array) -> Array:
        """o^2 E sin^2 (b u) + e^2 E cos^2 (b u)."""
        lack = -0.5 * jnp.expm1(-2 * self.square * var)
        return self.odd * lack + self.even * (1 - lack)

    def of_point(self, var: Array) -> Array:
        """exp(-b^2 v)."""
        return jnp.exp(-self.square * var)

    def of_pair(self, first: Array, second: Array, moments: Moments) -> Expectations:
        """The expectations."""
        distance, supplement = self.square * moments.distance, self.square * moments.supplement
        # What exp(-D/2) and exp(-S/2) lack of 1.
        lack, other = one_minus_exp(0.5 * distance), one_minus_exp(0.5 * supplement)
        apart = 0.5 * (self.even - self.odd) * jnp.square(first - second)
        sines, cosines = other - lack, 2 - lack - other  # twice E sin sin and E cos cos
        if moments.is_far:
            larger = jnp.exp(-0.5 * jnp.minimum(distance, supplement))
            size = self.square * jnp.abs(moments.covariance)
            sines = jnp.sign(moments.covariance) * larger * one_minus_exp(2 * size)
        return Expectations(
            distance=lack * (self.odd * (2 - other) + self.even * other) + apart,
            covariance=0.5 * (self.odd * sines + self.even * cosines),
            slope=0.5 * self.square * (self.odd * cosines + self.even * sines),
        )
