r"""Rectifiers f(x) = a min(x, 0) + b max(x, 0): ReLU, leaky ReLU, absolute value.

With variances r1^2, r2^2, angle theta and gap g = sin(theta) - theta cos(theta) (the arc-cosine
kernels of Cho & Saul 2009, eq. 6-8, written for distances and for two slopes):

    E f(u)^2         = (a^2 + b^2) / 2 v
    E (f(u) - f(v))^2 = (a^2 + b^2) / 2 D - (b - a)^2 / pi r1 r2 g
    E f'(u) f'(v)    = (a^2 + b^2) / 2 - (b - a)^2 / (2 pi) theta

where delta = 1 - cos(theta) = (D - (r1 - r2)^2) / (2 r1 r2).
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._activations.polynomials import angle_and_gap, safe_sqrt
from ntkjax._kernel.operation import operation

Scalar = float | Array


class _Point(NamedTuple):
    """Standard deviation, and half its inverse root of it, so that a pair needs no division."""

    std: Array
    inverse: Array


@operation
class Rectifier:
    """f(x) = a min(x, 0) + b max(x, 0)."""

    negative_slope: Scalar
    positive_slope: Scalar

    def _mean_square(self) -> Scalar:
        return (self.negative_slope**2 + self.positive_slope**2) / 2

    def variance(self, var: Array) -> Array:
        """(a^2 + b^2) / 2 v."""
        return self._mean_square() * var

    def point(self, var: Array) -> _Point:
        """Standard deviation and its inverse (zero for a point of no variance)."""
        std = safe_sqrt(var)
        positive = std > 0
        return _Point(std, jnp.where(positive, 1 / jnp.where(positive, std, 1.0), 0.0))

    def pair(self, first: _Point, second: _Point, distance: Array) -> tuple[Array, Array]:
        """Distance and derivative of a pair; a point of no variance counts as orthogonal."""
        scale = first.inverse * second.inverse
        delta = 0.5 * (distance - jnp.square(first.std - second.std)) * scale
        delta = jnp.where(scale > 0, jnp.clip(delta, 0.0, 2.0), 1.0)
        theta, gap = angle_and_gap(delta)
        kink = (self.positive_slope - self.negative_slope) ** 2 / np.pi
        distance = self._mean_square() * distance - kink * (first.std * second.std) * gap
        return distance, self._mean_square() - 0.5 * kink * theta
