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

That is for points which are alike. Where one is far larger than the other, U - K is nearly all of
D / 2, and gamma a small difference of angles; K has more digits. With t = 1 / sqrt(1 + v) and
c = K t1 t2,

    s^2 = 1 - c^2 = t1^2 + t2^2 (1 - t1^2) + t1 t2 rest (2 |c| + t1 t2 rest),
    gamma = 2 arctan(c / (1 + s)),     root = s / (t1 t2),

where rest = r1 r2 - |K| may be known to more digits than K. Nothing here overflows. Of it the above
can be made without a difference, too: U - |K| = (a1 - a2)^2 / (U + r1 r2) + rest.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._activations.polynomials import arctan_deficit


class Arc(NamedTuple):
    """Of one point."""

    offset: Array  # a
    angle: Array  # s
    inverse: Array  # t

    @classmethod
    def of(cls, var: Array) -> "Arc":
        """Of a point of variance `var`, which may be infinite."""
        var = jnp.minimum(var, jnp.finfo(var.dtype).max)
        tail = jnp.sqrt(2.0) * jnp.sqrt(0.5 + var)  # 1 + 2 v may be infinite
        return cls(var / (1 + tail), jnp.arctan2(var, tail), 1 / jnp.sqrt(1 + var))


def _sums(first: Arc, second: Arc) -> tuple[Array, Array, Array]:
    """(a1 - a2)^2, T and U."""
    a1, a2 = first.offset, second.offset
    return jnp.square(a1 - a2), 1 + a1 + a2, a1 + a2 + 2 * a1 * a2


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

        Right while the square of a variance fits the dtype.
        """
        step2, across, along = _sums(first, second)
        given = 0.5 * distance - step2  # U - K
        is_negative = given > along
        other = 2 * along - given if supplement is None else 0.5 * supplement - step2
        below = jnp.where(is_negative, other, given)
        # Below zero by a rounding error, which leaves the derivatives as they are.
        below = jnp.where(below < 0, below - jax.lax.stop_gradient(below), below)
        root = jnp.sqrt(jnp.square(across) + below * (2 * along - below))
        return cls._of(step2, across, along, below, is_negative, root)

    @classmethod
    def of_rest(
        cls, first: Arc, second: Arc, covariance: Array, rest: Array, arcsine: "Arcsine"
    ) -> "ArcPair":
        """Of two points with K = `covariance`, r1 r2 - |K| = `rest` and what is made of them."""
        step2, across, along = _sums(first, second)
        step, sizes = first.offset - second.offset, along + jnp.abs(covariance) + rest
        share = _share(step, sizes)
        # step^2 / sizes, of which no square is too small, and whose slopes need none of the share.
        apart = share * (2 * step - share * sizes)
        root = arcsine.sine / arcsine.inverse
        return cls._of(step2, across, along, rest + apart, covariance < 0, root)

    @classmethod
    def _of(
        cls,
        step2: Array,
        across: Array,
        along: Array,
        below: Array,
        is_negative: Array,
        root: Array,
    ) -> "ArcPair":
        """Of U - |K| = `below`.

        On CPU, XLA makes cheap operations anew in each consumer, but keeps what a division returns.
        Hence all is made of z, whose sign tells that of the covariance.
        """
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
        step2, _, along = _sums(first, second)
        given = 0.5 * distance - step2
        return (along > 1) & (given > 1.875 * along)

    def lack(self) -> Array:
        """(s1 + s2) / 2 - gamma."""
        return 2 * self.tangent * (1 - jnp.square(self.tangent) * self.deficit)

    def covariance(self) -> Array:
        """K."""
        size = self.along - self.below
        return jnp.where(self.is_negative, -size, size)


@jax.custom_jvp
def _share(step: Array, sizes: Array) -> Array:
    """Their quotient, or zero where sizes is; of no derivative where that would be too large."""
    return step / jnp.where(sizes > 0, sizes, 1.0)


@_share.defjvp
def _share_jvp(primals: Any, tangents: Any) -> Any:
    (step, sizes), (d_step, d_sizes) = primals, tangents
    share = _share(step, sizes)
    is_kept = sizes > jnp.finfo(sizes.dtype).tiny ** 0.45
    change = (d_step - share * d_sizes) / jnp.where(is_kept, sizes, 1.0)
    return share, jnp.where(is_kept, change, 0.0)


class Arcsine(NamedTuple):
    """Of a pair, whatever its sizes."""

    gamma: Array
    cosine: Array  # c = K / sqrt((1 + v1) (1 + v2))
    sine: Array  # s
    inverse: Array  # t1 t2

    @classmethod
    def of(cls, first: Arc, second: Arc, covariance: Array, rest: Array | None = None) -> "Arcsine":
        """Of two points with K = `covariance` and, where it is known, r1 r2 - |K| = `rest`."""
        t1, t2 = first.inverse, second.inverse
        inverse = t1 * t2
        cosine = covariance * inverse
        least = jnp.square(t1) + jnp.square(t2) * (1 - jnp.square(t1))
        size = jnp.abs(cosine)
        if rest is None:
            square = jnp.maximum((1 - size) * (1 + size), least)
        else:
            square = least + inverse * rest * (2 * size + inverse * rest)
        sine = jnp.sqrt(square)
        tangent = cosine / (1 + sine)
        square = jnp.square(tangent)
        return cls(2 * tangent * (1 - square * arctan_deficit(square)), cosine, sine, inverse)
