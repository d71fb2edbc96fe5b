r"""The angle between two Gaussians, of their standard deviations and their squared distance.

With deviations r1, r2 and p = r1 r2, the angle theta has the covariance K = p cos(theta), and

    delta = 1 - cos(theta) = (D - (r1 - r2)^2) / (2 p).

An obtuse angle is replaced by its supplement, of covariance -K, whose delta is 2 - delta. With
k = |K| and an angle t that is not obtuse,

    rest = p - k = p delta,    gap = p sin(t) - k t,

and their derivatives are, with p d delta = d rest - delta dp,

    d rest = dD / 2 - (r1 - r2) (dr1 - dr2)    or    (r1 + r2) (dr1 + dr2) - dD / 2 if obtuse,
    d gap = (gap / p) dp + t p d delta,
    dt = d delta / sin(t).

Nothing here cancels where points are nearly equal or opposite, and there are few arrays to keep:
with what autodiff derives of each operation, gradients take a quarter more memory.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._activations.polynomials import angle_and_gap
from ntkjax._kernel.algebra.roots import safe_sqrt

#: The power of two of obtuse angles, and a root that counts as zero: their product is above 1.
_LARGE, _LEAST = 2.0**50, 2.0**-45


class Deviation(NamedTuple):
    """Of one point."""

    std: Array
    inverse: Array  # so that a pair needs no division; zero for a point of no variance

    @classmethod
    def of(cls, var: Array) -> "Deviation":
        """Of a point of variance `var`."""
        std = safe_sqrt(var)
        positive = std > 0
        return cls(std, jnp.where(positive, 1 / jnp.where(positive, std, 1.0), 0.0))


class Angle(NamedTuple):
    """The angle t between two points, or its supplement where that is obtuse."""

    is_obtuse: Array | None  # None where no angle is
    theta: Array  # t
    rest: Array  # p - |K|
    gap: Array  # p sin(t) - |K| t

    @classmethod
    def of(
        cls, first: Deviation, second: Deviation, distance: Array, *, acute: bool = False
    ) -> "Angle":
        """Of two points (right where one has no variance), which may be known not to be obtuse."""
        root, theta, rest, gap = _angle(acute, first, second, distance)
        return cls(None if acute else jnp.signbit(root), theta, rest, gap)

    def choose(self, obtuse: Any, acute: Any) -> Any:
        """One of two expressions, by the kind of angle."""
        return acute if self.is_obtuse is None else jnp.where(self.is_obtuse, obtuse, acute)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _angle(
    acute: bool, first: Deviation, second: Deviation, distance: Array
) -> tuple[Array, Array, Array, Array]:
    """sqrt(delta), negative where the angle is obtuse; t, rest and gap."""
    product, scale = first.std * second.std, first.inverse * second.inverse
    delta = 0.5 * (distance - jnp.square(first.std - second.std)) * scale
    delta = jnp.where(scale > 0, jnp.clip(delta, 0.0, 1.0 if acute else 2.0), 1.0)
    delta, root = _acute_root(delta) if acute else _kept_root(delta)
    theta, gap = angle_and_gap(delta, jnp.abs(root))
    return root, theta, product * delta, product * gap


def _acute_root(delta: Array) -> tuple[Array, Array]:
    root = jnp.sqrt(delta)
    return root * root, root


def _kept_root(delta: Array) -> tuple[Array, Array]:
    """min(delta, 2 - delta) and its square root, negative where delta > 1.

    On CPU, XLA makes cheap operations anew in each consumer, but keeps what a square root returns.
    All is made of one root, so that `delta`, which may be a long sum, is made once. Roots of obtuse
    angles are told from others, which are at most 1, by a large power of two.
    """
    acute = jnp.maximum(jnp.minimum(delta, 2 - delta), 0.0)
    root = jnp.sqrt(jnp.where(delta > 1, _LARGE**2 * jnp.maximum(acute, _LEAST**2), acute))
    obtuse = root > 1
    half = jnp.where(root == _LARGE * _LEAST, 0.0, root / _LARGE)
    half = jnp.where(obtuse, half, root)
    return half * half, jnp.where(obtuse, -half, half)


@_angle.defjvp
def _angle_jvp(acute: bool, primals: Any, tangents: Any) -> Any:
    first, second, _ = primals
    d_first, d_second, d_distance = tangents
    root, theta, rest, gap = _angle(acute, *primals)
    r1, r2, scale = first.std, second.std, first.inverse * second.inverse
    d1, d2 = d_first.std, d_second.std  # those of the inverses are in what follows

    delta, sign = jnp.square(root), jnp.where(jnp.signbit(root), -1.0, 1.0).astype(root.dtype)
    cosine_half = jnp.sqrt(2 - delta)
    sine = jnp.abs(root) * cosine_half
    d_product = r2 * d1 + r1 * d2
    d_rest = sign * (0.5 * d_distance - (r1 - sign * r2) * (d1 - sign * d2))
    change = d_rest - delta * d_product
    # Equal points: zero for the infinite slope of the angle.
    per_sine = jnp.where(sine == 0, 0.0, scale / jnp.where(sine == 0, 1.0, sine))
    d_theta = per_sine * change
    d_root = 0.5 * sign * cosine_half * d_theta
    d_gap = gap * scale * d_product + theta * change
    return (root, theta, rest, gap), (d_root, d_theta, d_rest, d_gap)
