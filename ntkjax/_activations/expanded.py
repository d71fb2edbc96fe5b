"""Expectations of pairs by the expansion of the dual: see `ntkjax._activations.expansion`."""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntkjax._activations.expansion import Expansion
from ntkjax._activations.forward import forwards
from ntkjax._activations.moments import Moments
from ntkjax._activations.polynomials import angle_and_gap
from ntkjax._kernel.algebra.roots import clipped, safe_sqrt

#: The sum of products over the axis in front, of arrays that broadcast.
Dot = Callable[[Array, Array], Array]


def within(expansion: Expansion, first: Array, second: Array) -> Array:
    """Whether the standard deviations of all points are those of the expansion."""
    least = jnp.minimum(jnp.min(first), jnp.min(second))
    most = jnp.maximum(jnp.max(first), jnp.max(second))
    return (least >= expansion.least) & (most <= expansion.reach)


def expanded_moments(
    expansion: Expansion, first: Array, second: Array, rest: Array, other: Array
) -> Moments:
    """The expectations of pairs.

    Args:
      expansion: of f.
      first: standard deviations r1, of a shape that may be smaller than that of pairs.
      second: standard deviations r2.
      rest: r1 r2 - K.
      other: r1 r2 + K.
    """
    plain, short = (functools.partial(_moments, expansion, dot) for dot in (_dot, _short_dot))
    return forwards(plain, short)(first, second, rest, other)


def _moments(
    expansion: Expansion, dot: Dot, first: Array, second: Array, rest: Array, other: Array
) -> Moments:
    product = first * second
    positive = product > 0
    inverse = 1 / jnp.where(positive, product, 1.0)
    near = jnp.where(positive, clipped(rest * inverse, 2.0), 1.0)
    far = jnp.where(positive, clipped(other * inverse, 2.0), 1.0)
    cosine = jnp.where(near < 1, 1 - near, far - 1)
    s = _variable(expansion, near, far)

    ones, twos = (_polynomials(expansion, r) for r in (first, second))
    features = [_combined(expansion.features, p) for p in (ones, twos)]
    slope, inner, outer = _sums(expansion, dot, s, *features)
    means = [_combined(expansion.mean[None], p)[0] for p in (ones, twos)]
    if expansion.vanishes:
        means = [r * m for r, m in zip((first, second), means, strict=True)]
    across = [_combined(expansion.across_features, p) for p in (ones, twos)]
    of_first = _combined(expansion.across, across[0])
    across = dot(of_first, across[1])
    distance = jnp.square(first - second) * across + 2 * (near * product) * outer
    return Moments(means[0] * means[1] + cosine * product * inner, distance, slope)


def _variable(expansion: Expansion, near: Array, far: Array) -> Array:
    """The variable s, of 1 - c and 1 + c."""
    least = jnp.minimum(near, far)
    stretch = expansion.variable.stretch
    if stretch is None:
        angle, _ = angle_and_gap(least, safe_sqrt(least))
        acute = (2 / np.pi) * angle - 1
        return jnp.where(near <= far, acute, -acute)
    end = float(np.tanh(stretch))
    below = (1 - end) + end * least  # 1 - c tanh(kappa)
    size = (0.5 / stretch) * jnp.log((2 - below) / below)
    return jnp.where(near <= far, size, -size)


def _polynomials(expansion: Expansion, r: Array) -> Array:
    """Chebyshev polynomials of a standard deviation, `[degree, ...]`."""
    q = 2 / float(np.log1p(expansion.reach)) * jnp.log1p(r) - 1

    def following(carry: Any, _: None) -> tuple[Any, Array]:
        polynomial, before = carry
        return (2 * q * polynomial - before, polynomial), polynomial

    # Of degree -1, the polynomial is that of degree 1.
    _, found = lax.scan(following, (jnp.ones_like(q), q), None, len(expansion.mean))
    return found


def _combined(matrix: Any, arrays: Array) -> Array:
    """Linear combinations of arrays that are stacked in front."""
    matrix = jnp.asarray(matrix, arrays.dtype)
    return jnp.tensordot(matrix, arrays, 1, precision=lax.Precision.HIGHEST)


def _dot(first: Array, second: Array) -> Array:
    """Term by term, so that XLA makes one loop over vectors of pairs."""
    total = first[0] * second[0]
    for a, b in zip(first[1:], second[1:], strict=True):
        total = total + a * b
    return total


def _short_dot(first: Array, second: Array) -> Array:
    """The same, slower, in a program that is short however often it is differentiated."""
    return jnp.sum(first * second, 0)


def _sums(expansion: Expansion, dot: Dot, s: Array, first: Array, second: Array) -> list[Array]:
    """G and its means over [0, c] and [c, 1]."""
    coefficients = jnp.asarray(np.swapaxes(expansion.pairs, 2, 3), s.dtype)

    def add(carry: Any, of_degree: Array) -> tuple[Any, None]:
        totals, polynomial, before = carry
        parts = [dot(of_first, second) for of_first in _combined(of_degree, first)]
        totals = [t + polynomial * part for t, part in zip(totals, parts, strict=True)]
        return (totals, 2 * s * polynomial - before, polynomial), None

    # Of degree -1, the polynomial is that of degree 1.
    start = [jnp.zeros_like(s)] * 3, jnp.ones_like(s), s
    (totals, _, _), _ = lax.scan(add, start, coefficients)
    return totals
