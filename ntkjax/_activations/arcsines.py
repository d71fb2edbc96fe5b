r"""The arcsine of a pair, and what it lacks of the arcsines of its two points.

The duals of erf and GELU are made of gamma = arcsin(K / sqrt((1 + v1)(1 + v2))), and their
distances of its difference from the mean of s_i = arcsin(v_i / (1 + v_i)). With
a = (sqrt(1 + 2 v) - 1) / 2, the square of the complex number 1 + a + i a is sqrt(1 + 2 v) + i v, of
argument s. Hence

    T + i U = (1 + a1 + i a1) (1 + a2 + i a2),   T = 1 + a1 + a2,   U = a1 + a2 + 2 a1 a2

has the argument (s1 + s2) / 2, and sqrt((1 + v1)(1 + v2) - K^2) + i K, of the same modulus, the
argument gamma. Of two numbers of equal modulus the difference is orthogonal to the sum, so

    z = tan(((s1 + s2) / 2 - gamma) / 2) = (U - K) / (T + root),   U - K = D / 2 - (a1 - a2)^2,
    root^2 = (1 + v1)(1 + v2) - K^2 = T^2 + (U - K)(U + K),        root - T = z (U + K).

No term of z cancels more than the given D, v1, v2 must, its denominator is at least 2, and all of
it is smooth where points are equal or zero. For K < 0, z is that of (u, -v), of covariance -K: with
S = E (u + v)^2, where it is given, U - |K| = S / 2 - (a1 - a2)^2 loses none at opposite points.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._activations.polynomials import arctan_deficit


class Arc(NamedTuple):
    """Of one point."""

    offset: Array  # a
    angle: Array  # s

    @classmethod
    def of(cls, var: Array) -> "Arc":
        """Of a point of variance `var`."""
        tail = jnp.sqrt(1 + 2 * var)
        return cls(var / (1 + tail), jnp.arctan2(var, tail))


class ArcPair(NamedTuple):
    """Of a pair, or of (u, -v) where its covariance is negative."""

    is_negative: Array
    step2: Array  # (a1 - a2)^2
    across: Array  # T
    along: Array  # U
    tangent: Array  # z, in [0, 1]
    root: Array
    below: Array  # U - |K|
    deficit: Array  # (z - arctan z) / z^3

    @classmethod
    def of(
        cls, first: Arc, second: Arc, distance: Array, supplement: Array | None = None
    ) -> "ArcPair":
        """Of two points with D = `distance` and, where it is known, S = `supplement`.

        On CPU, XLA makes cheap operations anew in each consumer, but keeps what a division returns.
        Hence all is made of z, whose sign tells that of the covariance.
        """
        a1, a2 = first.offset, second.offset
        step2 = jnp.square(a1 - a2)
        across, along = 1 + a1 + a2, a1 + a2 + 2 * a1 * a2
        given = 0.5 * distance - step2  # U - K
        is_negative = given > along
        other = 2 * along - given if supplement is None else 0.5 * supplement - step2
        below = jnp.where(is_negative, other, given)
        # Below zero by a rounding error, which leaves the derivatives as they are.
        below += jax.lax.stop_gradient(jnp.maximum(-below, 0))
        root = jnp.sqrt(jnp.square(across) + below * (2 * along - below))
        kept = jnp.where(is_negative, -below, below) / (across + root)

        is_negative = jnp.signbit(kept)
        tangent = jnp.where(is_negative, -kept, kept)
        square = jnp.square(tangent)
        root = across + 2 * tangent * (along - tangent * across) / (1 + square)
        below = tangent * (across + root)
        return cls(is_negative, step2, across, along, tangent, root, below, arctan_deficit(square))

    @staticmethod
    def wants_supplement(first: Arc, second: Arc, distance: Array) -> Array:
        """Whether S would add digits: |K| is near U, in a pair of points that are not small.

        A rounding error of D is one of eps U in U - |K|, and one of eps U / (U - |K|) in the root.
        """
        along = first.offset + second.offset + 2 * first.offset * second.offset
        given = 0.5 * distance - jnp.square(first.offset - second.offset)
        return (along > 1) & (given > 1.875 * along)

    def lack(self) -> Array:
        """(s1 + s2) / 2 - gamma."""
        return 2 * self.tangent * (1 - jnp.square(self.tangent) * self.deficit)

    def covariance(self) -> Array:
        """K."""
        size = self.along - self.below
        return jnp.where(self.is_negative, -size, size)
