r"""The angle between two Gaussians, of their standard deviations and their squared distance.

With deviations r1, r2 and p = r1 r2, the angle theta has the covariance K = p cos(theta), and

    delta = 1 - cos(theta) = (D - (r1 - r2)^2) / (2 p).

An obtuse angle is replaced by its supplement, that of (u, -v), of covariance -K. Its delta is
2 - delta, which loses digits where points are nearly opposite, or, where S = E (u + v)^2 is known,

    (S - (r1 - r2)^2) / (2 p),

which loses none. With k = |K| and an angle t that is not obtuse,

    rest = p - k = p delta,    gap = p sin(t) - k t,

and their derivatives are, with p d delta = d rest - delta dp,

    d rest = dD / 2 - (r1 - r2) (dr1 - dr2), or, if obtuse,
    d rest = dS / 2 - (r1 - r2) (dr1 - dr2) = (r1 + r2) (dr1 + dr2) - dD / 2,
    d gap = (gap / p) dp + t p d delta,
    dt = d delta / sin(t).

Nothing here cancels where points are nearly equal or opposite, and there are few arrays to keep:
with what autodiff derives of each operation, gradients take a quarter more memory.

The angle has a kink where points are equal or opposite: dt counts as zero there, the mean of the
slopes on both sides. Derivatives that come near the largest number of the dtype count as zero,
too, since infinity times zero is not a number (`_angle_slope`): in float32, all of delta where p is
below 3e-10, all of t where it is below 1e-17, and the second ones of t where p^-2 sin(t)^-3 exceeds
1e30. All others are those of the formulas.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._activations.polynomials import angle_and_gap, inverse_half_cosine
from ntkjax._kernel.algebra.boundary import linear_broadcast
from ntkjax._kernel.algebra.roots import positive_part, safe_reciprocal, safe_sqrt

#: The power of two of obtuse angles, and a root that counts as zero: their product is above 1.
_LARGE, _LEAST = 2.0**50, 2.0**-45

#: Above this delta, 2 - delta of a rounded distance is not enough: the angle, found as its root,
#: has an error beyond 16 rounding errors.
_NEARLY_OPPOSITE = 2 - 2.0**-7


#: So many rounding errors of D and (r1 - r2)^2 count as nothing.
_NOISE = 2.0


class Deviation(NamedTuple):
    """Of one point."""

    std: Array
    inverse: Array  # so that a pair needs no division; zero for a point of no variance

    @classmethod
    def of(cls, var: Array) -> "Deviation":
        """Of a point of variance `var`."""
        std = safe_sqrt(var)
        return cls(std, safe_reciprocal(std))


class Angle(NamedTuple):
    """The angle t between two points, or its supplement where that is obtuse."""

    is_obtuse: Array | None  # None where no angle is
    theta: Array  # t
    rest: Array  # p - |K|
    gap: Array  # p sin(t) - |K| t
    delta: Array  # 1 - cos(t)

    @classmethod
    def of(
        cls,
        first: Deviation,
        second: Deviation,
        distance: Array,
        *,
        supplement: Array | None = None,
        acute: bool = False,
    ) -> "Angle":
        """Of two points (right where one has no variance).

        Args:
          first: the one point.
          second: the other.
          distance: D = E (u - v)^2.
          supplement: S = E (u + v)^2, for the digits of nearly opposite points.
          acute: whether the angle is known not to be obtuse.
        """
        root, theta, rest, gap, delta = _angle(acute, first, second, distance, supplement)
        return cls(None if acute else jnp.signbit(root), theta, rest, gap, delta)

    @classmethod
    def of_rest(
        cls, first: Deviation, second: Deviation, covariance: Array, rest: Array | None = None
    ) -> "Angle":
        """Of two points of any sizes, with K = `covariance` and, if known, p - |K| = `rest`."""
        if rest is None:
            rest = positive_part(first.std * second.std - jnp.abs(covariance))
        return cls(covariance < 0, *_angle_of_rest(first, second, rest))

    def choose(self, obtuse: Any, acute: Any) -> Any:
        """One of two expressions, by the kind of angle."""
        return acute if self.is_obtuse is None else jnp.where(self.is_obtuse, obtuse, acute)


class Turn(NamedTuple):
    """How an angle t changes with D, r1 and r2.

    With dp = r1 dr2 + r2 dr1, and of the signs the upper ones where it is not obtuse,

        p d delta = +- dD / 2 + q,    q = -+ (r1 -+ r2) (dr1 -+ dr2) - delta dp.

    All is of the shape of the pairs, so that backwards what they owe to their points is summed over
    pairs once, not once a term.
    """

    sign: Array | float  # +- 1
    theta: Array  # t
    d_square: Array  # r1 dr1 + r2 dr2
    d_theta: Array  # dt
    d_gap: Array  # of p sin(t) - |K| t, but for what it owes to dD, which is +- t dD / 2

    @classmethod
    def of(
        cls,
        root: Array,
        points: tuple[Deviation, Deviation],
        changes: tuple[Array, Array, Array],
        *,
        acute: bool = False,
    ) -> "Turn":
        """Of two points, the signed root of delta, and the changes of r1, r2 and D."""
        (r1, r2), scale = (point.std for point in points), points[0].inverse * points[1].inverse
        d1, d2 = (linear_broadcast(change, root.shape) for change in changes[:2])
        delta, theta, gap = _of_root(root)
        sign = sign_of(root, acute=acute)
        d_product = r2 * d1 + r1 * d2
        of_sizes = -sign * (r1 - sign * r2) * (d1 - sign * d2) - delta * d_product
        change = 0.5 * sign * changes[2] + of_sizes
        d_theta = _angle_slope(scale, jnp.abs(root)) * change
        d_gap = gap * d_product + theta * of_sizes
        return cls(sign, theta, r1 * d1 + r2 * d2, d_theta, d_gap)


def signed_root(
    first: Deviation, second: Deviation, distance: Array, *, acute: bool = False
) -> Array:
    """sqrt(delta) of two points, negative where their angle is obtuse."""
    return _angle(acute, first, second, distance, None)[0]


def sign_of(root: Array, *, acute: bool = False) -> Array | float:
    """+1, or -1 where the angle of a signed root is obtuse."""
    return 1.0 if acute else jnp.where(jnp.signbit(root), -1.0, 1.0).astype(root.dtype)


@jax.custom_jvp
def _of_root(root: Array) -> tuple[Array, Array, Array]:
    """delta, t and sin(t) - t cos(t), of the signed root of delta."""
    size = jnp.abs(root)
    delta = jnp.square(size)
    return delta, *angle_and_gap(delta, size)


@_of_root.defjvp
def _of_root_jvp(primals: tuple[Array], tangents: tuple[Array]) -> Any:
    (root,), (d_root,) = primals, tangents
    made = delta, theta, _ = _of_root(root)
    d_theta = _turned_by(root, d_root)
    d_delta = jnp.abs(root) * jnp.sqrt(2 - delta) * d_theta
    return made, (d_delta, d_theta, theta * d_delta)


@jax.custom_jvp
def angle_of_root(root: Array) -> tuple[Array, Array, Array]:
    """t, sin(t) and cos(t), of the signed root of delta."""
    delta, theta, _ = _of_root(root)
    return theta, jnp.abs(root) * jnp.sqrt(2 - delta), 1 - delta


@angle_of_root.defjvp
def _angle_of_root_jvp(primals: tuple[Array], tangents: tuple[Array]) -> Any:
    made = _, sine, cosine = angle_of_root(*primals)
    d_theta = _turned_by(*primals, *tangents)
    return made, (d_theta, cosine * d_theta, -sine * d_theta)


def _turned_by(root: Array, d_root: Array) -> Array:
    """dt, where |root| = sqrt(delta) = sqrt(2) sin(t / 2) changes."""
    return 2 * jnp.where(jnp.signbit(root), -d_root, d_root) / jnp.sqrt(2 - jnp.square(root))


def inverse_sine(root: Array, points: tuple[Deviation, Deviation]) -> Array:
    """1 / (p sin(t)), the derivative of t by p delta; zero where it is infinite."""
    return _angle_slope(points[0].inverse * points[1].inverse, jnp.abs(root))


def nearly_opposite(first: Deviation, second: Deviation, distance: Array) -> Array:
    """Whether E (u + v)^2 would add digits to the angle."""
    least = 2 * _NEARLY_OPPOSITE * (first.std * second.std)
    return distance - jnp.square(first.std - second.std) > least


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _angle(
    acute: bool, first: Deviation, second: Deviation, distance: Array, supplement: Array | None
) -> tuple[Array, Array, Array, Array, Array]:
    """sqrt(delta), negative where the angle is obtuse; t, rest, gap and delta."""
    product, scale = first.std * second.std, first.inverse * second.inverse
    apart = first.std - second.std
    across = jnp.square(apart)
    beyond = distance - across
    # As much as the rounding of r1 - r2 leaves of points that are parallel, and no angle.
    noise = _NOISE * float(jnp.finfo(distance.dtype).eps) * jnp.abs(apart)
    beyond = jnp.where(beyond > noise * (first.std + second.std), beyond, 0.0)
    delta = 0.5 * beyond * scale
    delta = jnp.where(scale > 0, jnp.clip(delta, 0.0, 1.0 if acute else 2.0), 1.0)
    if acute:
        delta, root = _acute_root(delta)
    elif supplement is None:
        delta, root = _kept_root(delta, 2 - delta)
    else:
        delta, root = _kept_root(delta, jnp.minimum(0.5 * (supplement - across) * scale, 1.0))
    theta, gap = angle_and_gap(delta, jnp.abs(root))
    return root, theta, product * delta, product * gap, delta


def _acute_root(delta: Array) -> tuple[Array, Array]:
    root = jnp.sqrt(delta)
    return root * root, root


def _kept_root(delta: Array, other: Array) -> tuple[Array, Array]:
    """The lesser of delta and that of the supplement, and its square root, negative if obtuse.

    On CPU, XLA makes cheap operations anew in each consumer, but keeps what a square root returns.
    All is made of one root, so that `delta`, which may be a long sum, is made once. Roots of obtuse
    angles are told from others, which are at most 1, by a large power of two.
    """
    obtuse = _LARGE**2 * jnp.maximum(other, _LEAST**2)
    root = jnp.sqrt(jnp.where(delta > 1, obtuse, delta))
    obtuse = root > 1
    half = jnp.where(root == _LARGE * _LEAST, 0.0, root / _LARGE)
    half = jnp.where(obtuse, half, root)
    return half * half, jnp.where(obtuse, -half, half)


@_angle.defjvp
def _angle_jvp(acute: bool, primals: Any, tangents: Any) -> Any:
    first, second, _, supplement = primals
    d_first, d_second, d_distance, d_supplement = tangents
    root, theta, _, gap, _ = made = _angle(acute, *primals)
    r1, r2, scale = first.std, second.std, first.inverse * second.inverse
    d1, d2 = d_first.std, d_second.std  # those of the inverses are in what follows

    delta, is_obtuse = jnp.square(root), jnp.signbit(root)
    sign = jnp.where(is_obtuse, -1.0, 1.0).astype(root.dtype)
    cosine_half = jnp.sqrt(2 - delta)
    d_product = r2 * d1 + r1 * d2
    if acute or supplement is None:
        d_rest = sign * (0.5 * d_distance - (r1 - sign * r2) * (d1 - sign * d2))
    else:
        d_rest = 0.5 * jnp.where(is_obtuse, d_supplement, d_distance) - (r1 - r2) * (d1 - d2)
    change = d_rest - delta * d_product
    d_theta = _angle_slope(scale, jnp.abs(root)) * change
    d_root = 0.5 * sign * cosine_half * d_theta
    d_gap = gap * scale * d_product + theta * change
    d_delta = _kept(scale) * change
    return made, (d_root, d_theta, d_rest, d_gap, d_delta)


@jax.custom_jvp
def _angle_of_rest(
    first: Deviation, second: Deviation, rest: Array
) -> tuple[Array, Array, Array, Array]:
    """t, rest, gap and delta."""
    product, scale = first.std * second.std, first.inverse * second.inverse
    delta = jnp.where(scale > 0, jnp.clip(rest * scale, 0.0, 1.0), 1.0)
    theta, gap = angle_and_gap(delta, jnp.sqrt(delta))
    return theta, product * delta, product * gap, delta


@_angle_of_rest.defjvp
def _angle_of_rest_jvp(primals: Any, tangents: Any) -> Any:
    first, second, _ = primals
    d_first, d_second, d_rest = tangents
    made = theta, _, gap, delta = _angle_of_rest(*primals)
    scale = first.inverse * second.inverse
    d_product = second.std * d_first.std + first.std * d_second.std
    change = d_rest - delta * d_product
    d_theta = _angle_slope(scale, safe_sqrt(delta)) * change
    d_gap = gap * scale * d_product + theta * change
    d_delta = _kept(scale) * change
    return made, (d_theta, d_rest, d_gap, d_delta)


def _kept(scale: Array) -> Array:
    """The slope of delta, or zero where its square would be too large."""
    return jnp.where(scale > jnp.finfo(scale.dtype).tiny ** -0.25, 0.0, scale)


@jax.custom_jvp
def _angle_slope(scale: Array, root: Array) -> Array:
    """`scale` over sin(t), of the root of delta: sin(t) = sqrt(delta (2 - delta)).

    Zero where sin(t) is or the square of scale would be too large.
    """
    too_large = scale > jnp.finfo(scale.dtype).tiny ** -0.45
    return scale * jnp.where(too_large, 0.0, _inverse_sine(root))


def _inverse_sine(root: Array) -> Array:
    """1 / sin(t), or zero where sin(t) is."""
    return safe_reciprocal(root) * inverse_half_cosine(jnp.square(root))


@_angle_slope.defjvp
def _angle_slope_jvp(primals: Any, tangents: Any) -> Any:
    """The derivative of the quotient, or zero where it would be too large."""
    (scale, root), (d_scale, d_root) = primals, tangents
    inverse, slope, delta = _inverse_sine(root), _angle_slope(scale, root), jnp.square(root)
    # d sin(t) is of the size of the slope.
    d_sine = 2 * (1 - delta) / jnp.sqrt(2 - delta) * d_root
    too_large = jnp.square(scale * inverse) * inverse > jnp.finfo(root.dtype).tiny ** -0.8
    kept = jnp.where(too_large, 0.0, inverse)
    return slope, kept * d_scale - slope * kept * d_sine
