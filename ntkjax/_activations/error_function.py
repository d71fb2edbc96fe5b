r"""The error function f(x) = a erf(b x) + c.

Williams 1997, eq. 11, gives E erf(u) erf(v) = 2/pi arcsin(2 K / (q1 q2)), q = sqrt(1 + 2 v), and
E erf'(u) erf'(v) = 4/pi / sqrt(q1^2 q2^2 - 4 K^2). The distance would be a difference of three
arcsines; with s_i = arcsin(2 v_i / q_i^2), t_i = sqrt(1 + 4 v_i), K > 0 and
det = v1 v2 - K^2 it equals 4/pi arcsin(y), where no term cancels:

    y = (4 det + (t1 - t2)^2 / 4) / (q1 q2)^2
        / (sin((s1 + s2) / 2) cos(gamma) + cos((s1 + s2) / 2) sin(gamma)),
    sin(gamma) = 2 K / (q1 q2),   cos(gamma) = sqrt(1 + 2 v1 + 2 v2 + 4 det) / (q1 q2).

It follows from sin(s / 2 - gamma) sin(s / 2 + gamma) = sin^2(s / 2) - sin^2(gamma). For K < 0 the
function is odd, so the distance is that of (u, -v), reflected.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._activations.polynomials import small_arcsin
from ntkjax._kernel.operation import operation
from ntkjax._kernel.operations.pointwise import DualPair
from ntkjax._kernel.roots import safe_sqrt

Scalar = float | Array


class _Point(NamedTuple):
    """All that a pair needs of one point."""

    given: Array  # the variance
    var: Array  # v: the same, times slope^2
    std: Array
    tail: Array  # t = sqrt(1 + 4 v)
    inverse: Array  # 1 / q
    sine: Array  # sin and cos of s / 2
    cosine: Array
    energy: Array  # E erf(u)^2 = 2 s / pi


@operation
class ErrorFunction:
    """f(x) = amplitude * erf(slope * x) + offset."""

    amplitude: Scalar
    slope: Scalar
    offset: Scalar

    is_nonnegative = False

    def variance(self, var: Array) -> Array:
        """a^2 2/pi arcsin(2 v / (1 + 2 v)) + c^2."""
        return self.amplitude**2 * self.point(var).energy + self.offset**2

    def point(self, var: Array) -> _Point:
        """The maps of one point, of its variance times slope^2."""
        given, var = var, var * self.slope**2
        square = 1 + 2 * var
        tail = jnp.sqrt(1 + 4 * var)
        angle = jnp.arctan2(2 * var, tail)  # s, whose sine is 2v/q^2 and cosine t/q^2
        return _Point(
            given,
            var,
            safe_sqrt(var),
            tail,
            1 / jnp.sqrt(square),
            jnp.sin(angle / 2),
            jnp.cos(angle / 2),
            2 / np.pi * angle,
        )

    def pair(
        self, first: _Point, second: _Point, distance: Array, *, acute: bool = False
    ) -> DualPair:
        """The expectations of a pair."""
        del acute
        given = 0.5 * (first.given + second.given - distance)
        distance = distance * self.slope**2
        product = first.std * second.std
        # omega = 2 r1 r2 (1 - cos), from which both K and the determinant follow without loss.
        omega = jnp.clip(distance - jnp.square(first.std - second.std), 0.0, 4 * product)
        determinant = omega * (product - omega / 4)
        covariance = product - omega / 2
        scale = first.inverse * second.inverse
        root = jnp.sqrt(1 + 2 * (first.var + second.var) + 4 * determinant)  # q1 q2 cos(gamma)
        sine = first.sine * second.cosine + first.cosine * second.sine
        cosine = first.cosine * second.cosine - first.sine * second.sine
        above = (4 * determinant + 0.25 * jnp.square(first.tail - second.tail)) * scale
        below = sine * root + cosine * 2 * jnp.abs(covariance)
        some = below > 0
        ratio = jnp.where(some, above / jnp.where(some, below, 1.0), 0.0)
        near = 4 / np.pi * small_arcsin(jnp.clip(ratio, 0.0, 1.0))
        far = 2 * (first.energy + second.energy) - near
        slope = self.amplitude**2 * self.slope**2 * 4 / np.pi / root
        return DualPair(self.amplitude**2 * jnp.where(covariance >= 0, near, far), slope, given)
