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

from ntkjax._activations.angle import Angle, Deviation, Turn, nearly_opposite, signed_root
from ntkjax._kernel.algebra.boundary import linear_kept, linear_stored
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
        angle = Angle.of(first, second, distance, supplement=supplement, acute=acute)
        a, b = self.negative_slope, self.positive_slope
        product = first.std * second.std
        across = jnp.square(first.std - second.std)
        # The distance again, of the angle: what made the angle need not be made twice.
        opposed = (a + b) ** 2 * product - 2 * a * b * angle.rest
        along = angle.choose(opposed, (a**2 + b**2) * angle.rest)
        return DualPair(
            distance=self._mean_square() * across + along - (b - a) ** 2 / np.pi * angle.gap,
            slope=self._slope(angle),
            covariance=angle.choose(angle.rest - product, product - angle.rest),
        )

    def _slope(self, angle: Angle) -> Array:
        """E f'(u) f'(v)."""
        a, b = self.negative_slope, self.positive_slope
        turn = (b - a) ** 2 / (2 * np.pi) * angle.theta
        return angle.choose(a * b + turn, self._mean_square() - turn)

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
    change = linear_stored(functools.partial(_change, is_excess, acute), *operands)
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
    a, b = rectifier.negative_slope, rectifier.positive_slope
    bend, obtuse = (b - a) ** 2, 0.5 * (1 - turn.sign)
    slope = a * b + 0.5 * bend * (1 - obtuse) - bend / (2 * np.pi) * turn.sign * turn.theta
    d_moment = slope * d_given.moment - bend / np.pi * turn.d_gap
    if not acute:
        d_moment = d_moment + bend * obtuse * turn.d_square
    if ntk is None:
        return Pairs(d_moment)
    d_ntk = d_given.ntk
    if is_excess:
        d_ntk = added(d_ntk, turn.d_square - 0.5 * d_given.moment)
    return Pairs(d_moment, slope * d_ntk - ntk * (bend / (2 * np.pi) * turn.sign) * turn.d_theta)
