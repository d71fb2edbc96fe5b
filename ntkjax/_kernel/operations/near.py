"""Linear maps of positions of two images that nearly agree, without loss of digits.

The distance of z = A x and z' = A' x' is made of M - e1 - e2, of distances before the map:

    N[P, Q] = sum_pq A_Pp A'_Qq D12[p, q] - sum_pq A_Pp A_Pq D11[p, q] / 2 - (the same of A', D22).

Those are of order 1 even where the images are equal, since they are of different positions, so that
of images at a relative distance of 1e-3 no digit is left in float32. With E = A' - A, and Y = D12 -
D22, Z = D22 - D11, all of which are small for such images,

    N[P, Q] = N22[P, Q] + sum_q W[P, q] A'_Qq + c[P],    W = A Y - E D22,
    c[P] = sum_q (A Z)[P, q] A_Pq / 2 + (E D22)[P, q] (A + E / 2)_Pq,

with N22 that of the second image with itself: all sums are of small terms. It holds of any images.

In the same way, S11 + S22 - 2 S12 of sums S = sum_pq F[p, q] K[p, q] of two kernels is made of
small terms: with a = K11 - K12, b = K22 - K12, f = F11 - F12, g = F22 - F12,

    S11 + S22 - 2 S12 = sum_pq F12 (a + b) + K12 (f + g) + f a + g b,

where a + b = K11 + K22 - 2 K12 is taken from distances and variances.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.algebra.boundary import recomputed

#: Pairs of images whose mean distance is less than this part of the sum of their variances.
NEAR = 1e-2


class Before(NamedTuple):
    """What a linear map needs of an image for pairs that nearly agree; images last."""

    weights: Array  # A, [P, p, image]
    variance: Array  # [p, image]
    own: Array  # D of the image with itself before, [p, q, image]
    after: Array  # N of the image with itself, [P, Q, image]


def any_near(distance: Array, first: Array, second: Array, same: Array | None) -> Array:
    """Whether two different images of a block nearly agree; a scalar.

    `distance` is [n1, n2, p, q], and variances are `[p, image]`.
    """
    total = jnp.sum(jnp.diagonal(distance, axis1=-2, axis2=-1), -1)
    sizes = jnp.sum(first, 0)[:, None] + jnp.sum(second, 0)[None, :]
    near = total < NEAR * sizes
    if same is not None:
        near &= ~same
    return lax.stop_gradient(jnp.any(near))


def mixed_of_near(distance: Array, first: Before, second: Before) -> Array:
    """N[P, Q] of all pairs of two batches, `[n1, n2, P, Q]`: one first image after the other."""
    weights, own, after = (jnp.moveaxis(a, -1, 0) for a in (second[0], second[2], second[3]))

    def of_first(given: tuple[Array, Array, Array]) -> Array:
        across, one, own1 = given[0], given[1][None], given[2][None]
        apart = weights - one
        moved = _sum("nPp,npq->nPq", apart, own)
        row = _sum("Pp,npq->nPq", one[0], across - own) - moved
        own_apart = _sum("Pp,npq->nPq", one[0], own - own1)
        alone = jnp.sum(0.5 * own_apart * one + moved * (one + 0.5 * apart), -1)
        return after + _sum("nPq,nQq->nPQ", row, weights) + alone[..., None]

    one, own1 = (jnp.moveaxis(a, -1, 0) for a in (first.weights, first.own))
    return lax.map(recomputed(of_first), (distance, one, own1))


class Kernels(NamedTuple):
    """A kernel of pairs of positions, of either image with itself and of both."""

    across: Array  # K12, [n1, n2, p, q]
    distance: Array
    variance1: Array  # [p, image]
    variance2: Array
    own1: Array  # distances of images with themselves, [p, q, image]
    own2: Array

    def apart(self) -> tuple[Array, Array, Array]:
        """K11 - K12, K22 - K12, and their sum."""
        cov1, cov2 = (_covariances(*a) for a in ((self.variance1, self.own1),
                                                 (self.variance2, self.own2)))  # fmt: skip
        first, second = cov1[:, None] - self.across, cov2[None] - self.across
        own = 0.5 * (jnp.moveaxis(self.own1, -1, 0)[:, None] + jnp.moveaxis(self.own2, -1, 0)[None])
        size = self.variance1.T[:, None] - self.variance2.T[None]
        both = self.distance - own + 0.5 * (size[..., None, :] - size[..., :, None])
        return first, second, both


def _covariances(variance: Array, distance: Array) -> Array:
    """`[image, p, q]`, of maps with images last."""
    return jnp.moveaxis(0.5 * (variance[:, None] + variance[None] - distance), -1, 0)


def sums_apart(one: Kernels, two: Kernels) -> Array:
    """S11 + S22 - 2 S12 of S = sum of products of two kernels, `[n1, n2, 1, 1]`."""
    a, b, both = one.apart()
    f, g, both_of_two = two.apart()
    terms = two.across * both + one.across * both_of_two + f * a + g * b
    return jnp.sum(terms, (-2, -1), keepdims=True)


def _sum(spec: str, *arrays: Array) -> Array:
    return jnp.einsum(spec, *arrays, precision=lax.Precision.HIGHEST)
