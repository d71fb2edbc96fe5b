"""The arrays that flow between layers, and the formulas that all operations on them share.

The kernel of a pair of points is carried as the squared distance D = E (g(x)[p] - g(x')[q])^2
beside the variances v1[p], v2[q], because 1 - cos of two near-equal points, computed from a
covariance, has lost half of its digits. The covariance is (v1 + v2 - D) / 2. After the last
nonlinearity only the covariance is wanted, and it alone is carried.

Every image carries its own scale s: what is held is that of g = f / s, so that points of very
different sizes lose no digits either. A number in float32, f(x) = 1 and f(x') = 0.001 with
correlation 1/2: K = 0.0005. From D = 0.999001, rounded to 6e-8, K is known to 6e-8 / 0.0005 = 1e-4
only; from g(x) = g(x') = 1, D = 1 it is s1 s2 (1 + 1 - 1) / 2, known to 1e-7.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntkjax._kernel.algebra.roots import clipped, positive_part


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pairs:
    """Kernels between images on one diagonal, or on several with an axis in front.

    Attributes:
      moment: the distance or the covariance.
      ntk: the tangent kernel, or its excess over the covariance; None when it is not asked for or
        vanishes.
      distance: at an output that is asked for both, the distance beside the covariance.
    """

    moment: Array
    ntk: Array | None = None
    distance: Array | None = None

    def map(self, fn: Callable[[Array], Array]) -> "Pairs":
        """The same linear operation on all arrays."""
        return jax.tree.map(fn, self)


def added(tangent: Array | None, more: Array) -> Array:
    """A tangent kernel, which may vanish, and more."""
    return more if tangent is None else tangent + more


def added_at(total: Array, more: Array, place: Sequence[Any]) -> Array:
    """A total with more from `place` on, which XLA adds where it is."""
    return _added_at(total, more, tuple(jnp.asarray(start, np.int32) for start in place))


@jax.custom_jvp
def _added_at(total: Array, more: Array, place: tuple[Array, ...]) -> Array:
    held = lax.dynamic_slice(total, place, more.shape, allow_negative_indices=False)
    return lax.dynamic_update_slice(total, held + more, place, allow_negative_indices=False)


@_added_at.defjvp
def _added_at_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    """As one scatter: backwards, the total is handed on, and only what is added is read from it.

    Of a slice and its replacement, autodiff would make totals of zeros for each addition.
    """
    (total, more, place), (d_total, d_more, _) = primals, tangents
    axes = tuple(range(total.ndim))
    numbers = lax.ScatterDimensionNumbers(axes, (), axes)
    change = lax.scatter_add(
        d_total, jnp.stack(place), d_more, numbers, mode="promise_in_bounds",
        indices_are_sorted=True, unique_indices=True,
    )  # fmt: skip
    return _added_at(total, more, place), change


def covariance(first: Array, second: Array, distance: Array) -> Array:
    """(v1 + v2 - D) / 2, the variances as seen by the pairs."""
    return 0.5 * (first + second - distance)


def rescaled(distance: Array, first: tuple[Array, Array], second: tuple[Array, Array]) -> Array:
    """The distance of a1 g1 and a2 g2, of factors a and products a v for both images.

    E (a1 u - a2 v)^2 = a1 a2 D + (a1 - a2)(a1 v1 - a2 v2). It holds as well for E (a1 u + a2 v)^2
    and the moment E (u + v)^2. For near points the factors nearly agree, and nothing is lost.
    """
    (a1, w1), (a2, w2) = first, second
    return a1 * a2 * distance + (a1 - a2) * (w1 - w2)


def normalized_distance(distance: Array, first: Array, second: Array) -> Array:
    """E (u / r1 - v / r2)^2 = (D - (r1 - r2)^2) / (r1 r2), of standard deviations r.

    It is 2 (1 - cos) of the angle of the two points, from 0 to 4; 0 where one of them is zero.
    """
    product = first * second
    positive = product > 0
    across = distance - jnp.square(first - second)
    return jnp.where(positive, clipped(across / jnp.where(positive, product, 1.0), 4.0), 0.0)


def from_normalized(distance: Array, first: Array, second: Array) -> Array:
    """D = (r1 - r2)^2 + r1 r2 E (u / r1 - v / r2)^2: the inverse of `normalized_distance`."""
    return jnp.square(first - second) + first * second * distance


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mixture:
    """What one image contributes to the distances after a linear map of positions.

    Of the weights a_Pi of position p_i in output P, and the variances v and distances D of the
    image with itself before the map:

    Attributes:
      mean: m[P] = sum_i a_Pi v[p_i].
      mass: A_P = sum_i a_Pi.
      energy: e[P] = sum_ij a_Pi a_Pj D[p_i, p_j] / 2.
    """

    mean: Array
    mass: Array
    energy: Array

    def variance(self) -> Array:
        """v'[P] = A_P m[P] - e[P]."""
        return self.mass * self.mean - self.energy


def mixed_distance(mixed: Array, first: Mixture, second: Mixture) -> Array:
    """D'[P, Q] = M[P, Q] - e1[P] - e2[Q] + (A_P - A_Q)(m1[P] - m2[Q]).

    `mixed` is M[P, Q] = sum_ij a_Pi a_Qj D[p_i, q_j].
    """
    across = across_masses(first, second)
    return positive_part(mixed - first.energy - second.energy + across)


def across_masses(first: Mixture, second: Mixture) -> Array:
    """(A_P - A_Q)(m1[P] - m2[Q])."""
    return (first.mass - second.mass) * (first.mean - second.mean)
