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

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._activations.angle import (
    Angle,
    Deviation,
    Turn,
    angle_of_root,
    inverse_sine,
    nearly_opposite,
    sign_of,
    signed_root,
)
from ntkjax._kernel.algebra.boundary import linear_kept, materialized
from ntkjax._kernel.algebra.linear import LinearStep
from ntkjax._kernel.algebra.operation import operation, static
from ntkjax._kernel.algebra.pairs import Pairs, added
from ntkjax._kernel.algebra.tangents import instantiated, is_zero
from ntkjax._kernel.operations.activation import DualPair, transformed

Scalar = float | Array


@operation
class Rectifier:
    """f(x) = a min(x, 0) + b max(x, 0)."""

    negative_slope: Scalar
    positive_slope: Scalar
    is_nonnegative: bool = static(default=False)

    is_homogeneous = True
    growth = 1

    @property
    def mean_square(self) -> Scalar:
        """(a^2 + b^2) / 2."""
        return (self.negative_slope**2 + self.positive_slope**2) / 2

    @property
    def bend(self) -> Scalar:
        """(b - a)^2."""
        return (self.positive_slope - self.negative_slope) ** 2

    def slope_at(self, sign: Array | float, theta: Array) -> Array:
        """E f'(u) f'(v) at an angle t, or where the sign is -1 of the supplement t."""
        straight = self.negative_slope * self.positive_slope + 0.25 * self.bend * (1 + sign)
        return straight - self.bend / (2 * np.pi) * sign * theta

    def variance(self, var: Array) -> Array:
        """(a^2 + b^2) / 2 v."""
        return self.mean_square * var

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
        angle = Angle.of(first, second, distance, supplement=supplement, acute=acute)
        a, b = self.negative_slope, self.positive_slope
        product = first.std * second.std
        across = jnp.square(first.std - second.std)
        # The distance again, of the angle: what made the angle need not be made twice.
        opposed = (a + b) ** 2 * product - 2 * a * b * angle.rest
        along = angle.choose(opposed, (a**2 + b**2) * angle.rest)
        return DualPair(
            distance=self.mean_square * across + along - (b - a) ** 2 / np.pi * angle.gap,
            slope=self._slope(angle),
            covariance=angle.choose(angle.rest - product, product - angle.rest),
        )

    def _slope(self, angle: Angle) -> Array:
        """E f'(u) f'(v)."""
        a, b = self.negative_slope, self.positive_slope
        turn = (b - a) ** 2 / (2 * np.pi) * angle.theta
        return angle.choose(a * b + turn, self.mean_square - turn)

    def transform(
        self, first: Deviation, second: Deviation, given: Pairs, *, is_excess: bool, acute: bool
    ) -> Pairs:
        """The pairs after f, of their distances and tangent kernels, with their own derivatives."""
        return _transformed((is_excess, acute), self, first, second, given)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _transformed(
    how: tuple[bool, bool], rectifier: Rectifier, first: Deviation, second: Deviation, given: Pairs
) -> Pairs:
    return _plainly_transformed(how, rectifier, first, second, given)


def _plainly_transformed(
    how: tuple[bool, bool], rectifier: Rectifier, first: Deviation, second: Deviation, given: Pairs
) -> Pairs:
    """Without a rule of derivatives."""
    is_excess, acute = how
    return transformed(rectifier.pair(first, second, given.moment, acute=acute), given, is_excess)


@functools.partial(_transformed.defjvp, symbolic_zeros=True)
def _transformed_jvp(how: tuple[bool, bool], primals: Any, tangents: Any) -> tuple[Pairs, Pairs]:
    (is_excess, acute), (rectifier, first, second, given) = how, primals
    d_rectifier, *changes = tangents
    d_first, d_second, d_given = instantiated(changes)
    # Distances and tangent kernels both change with it.
    d_given = dataclasses.replace(d_given, moment=linear_kept(d_given.moment))
    made = _transformed(how, *primals)
    root = signed_root(first, second, given.moment, acute=acute)
    ntk = given.ntk
    if is_excess:
        product = first.std * second.std
        cosine = 1 - jnp.square(root)
        if not acute:
            cosine = jnp.where(jnp.signbit(root), -cosine, cosine)
        ntk = added(ntk, product * cosine)
    operands = (rectifier, root, first, second, ntk), (d_first.std, d_second.std, d_given)
    fn = functools.partial(_change, is_excess, acute)
    back = functools.partial(_change_transposed, is_excess, acute, d_given.ntk is not None)
    change = LinearStep(fn, back)(*operands)
    if is_zero(d_rectifier):
        return made, change
    _, of_slopes = jax.jvp(
        lambda one: _plainly_transformed(how, one, *primals[1:]),
        (rectifier,),
        (instantiated(d_rectifier),),
    )
    return made, jax.tree.map(jnp.add, change, of_slopes)


def _change(is_excess: bool, acute: bool, known: Any, changes: tuple[Array, Array, Pairs]) -> Pairs:
    """How the pairs after f change with deviations, distances and tangent kernels.

    In the terms of `Turn`, of the signs the upper ones where the angle is not obtuse:

        dD' = E f'(u) f'(v) dD - (b - a)^2 / pi d_gap, and if obtuse
              + (b - a)^2 (r1 dr1 + r2 dr2),
        d E f'(u) f'(v) = -+ (b - a)^2 / (2 pi) dt,
        dK = r1 dr1 + r2 dr2 - dD / 2.
    """
    (d_first, d_second, d_given), (rectifier, root, *points, ntk) = changes, known
    turn = Turn.of(root, tuple(points), (d_first, d_second, d_given.moment), acute=acute)
    bend, slope = rectifier.bend, rectifier.slope_at(turn.sign, turn.theta)
    d_moment = slope * d_given.moment - bend / np.pi * turn.d_gap
    if not acute:
        d_moment = d_moment + bend * 0.5 * (1 - turn.sign) * turn.d_square
    if ntk is None:
        return Pairs(d_moment)
    d_ntk = d_given.ntk
    if is_excess:
        d_ntk = added(d_ntk, turn.d_square - 0.5 * d_given.moment)
    return Pairs(d_moment, slope * d_ntk - ntk * (bend / (2 * np.pi) * turn.sign) * turn.d_theta)


def _change_transposed(
    is_excess: bool, acute: bool, has_tangent: bool, known: Any, cotangent: Pairs
) -> tuple[Array, Array, Pairs]:
    r"""The transpose of `_change`.

    Let m and n be the cotangents of D' and Theta', c = (b - a)^2 / pi, S = E f'(u) f'(v), of the
    signs the upper ones where the angle is not obtuse, and h = c / 2 n Theta / (p sin(t)). Then the
    cotangents of the tangent kernel, the distance and the two deviations are

        S n,    (a^2 + b^2) / 2 m - U / 2,    r1 sum U + sum r2 V,    r2 sum U + sum r1 V,

        U = h +- c t m,    V = -+ h cos(t) - c sin(t) m.

    U has pi c m more where the angle is obtuse, and S n more where tangent kernels are excesses.
    """
    rectifier, root, *points, ntk = known
    # Stored, since it takes long: U and S are made of it in several places.
    theta = materialized(lambda root: angle_of_root(root)[0], root)
    of_rule = rectifier, root, theta, ntk, tuple(points), cotangent
    square, product = materialized(functools.partial(_owed_to_points, is_excess, acute), of_rule)
    r1, r2 = stds = [point.std for point in points]
    # Stored before they are summed: XLA sums products three times as slowly.
    owed = materialized(
        lambda made: (r1 * made[0] + r2 * made[1], r2 * made[0] + r1 * made[1]), (square, product)
    )
    moment, ntk = rectifier.mean_square * cotangent.moment - 0.5 * square, None
    if has_tangent and cotangent.ntk is not None:
        ntk = rectifier.slope_at(sign_of(root, acute=acute), theta) * cotangent.ntk
    of_first, of_second = map(_summed, owed, stds)
    return of_first, of_second, Pairs(moment, ntk)


def _owed_to_points(is_excess: bool, acute: bool, of_rule: Any) -> tuple[Array, Array]:
    """U and V of `_change_transposed`."""
    rectifier, root, theta, ntk, points, cotangent = of_rule
    bend, sign = rectifier.bend, sign_of(root, acute=acute)
    _, sine, cosine = angle_of_root(root)
    square = bend * (sign * theta / np.pi + 0.5 * (1 - sign)) * cotangent.moment
    product = -bend / np.pi * sine * cotangent.moment
    if cotangent.ntk is None:
        return square, product
    if ntk is not None:
        turn = bend / (2 * np.pi) * cotangent.ntk * ntk * inverse_sine(root, points)
        square, product = square + turn, product - sign * turn * cosine
    if is_excess:
        square = square + rectifier.slope_at(sign, theta) * cotangent.ntk
    return square, product


def _summed(array: Array, like: Array) -> Array:
    """The sum over the axes along which `like` was broadcast."""
    further = array.ndim - like.ndim
    axes = [i for i in range(array.ndim) if i < further or like.shape[i - further] == 1]
    return jnp.sum(array, axes).reshape(like.shape)
