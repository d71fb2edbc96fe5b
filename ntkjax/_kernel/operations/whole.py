"""Operations on whole kernels: of all pairs of positions, and of both images' own kernels.

They are handed matrices `[*lanes, p1, q1, p2, q2, ...]`, interleaved over the spatial axes, whose
lanes are (n1, n2) for pairs of images, and (n,) for the kernels of images with themselves. They are
tiled as all others are: a tile holds all pairs of positions of its images.

A `LinearMap` is z = A x, with a matrix A of positions for each image: K' = A1 K A2^T. For two
positions, A1 = A2 = [[1/2, 1/2]] and distances D of the images with themselves and across,

    D_11 = [[0, 2], [2, 0]],    D_12 = [[1, 3], [3, 1]],    v = [1, 1],
    M = A1 D_12 A2^T = 2,    e1 = e2 = A D_11 A^T / 2 = 1/2,    D' = M - e1 - e2 = 1.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.algebra.diagonals import (
    Diagonals,
    Rows,
    from_matrix,
    put,
    rows_shape,
    to_matrix,
)
from ntkjax._kernel.algebra.image import Image, on_positions
from ntkjax._kernel.algebra.operation import Collector, Context, Seen, Step
from ntkjax._kernel.algebra.pairs import Mixture, Pairs, across_masses
from ntkjax._kernel.algebra.roots import positive_part
from ntkjax._kernel.operations.near import Before, any_near, mixed_of_near


class WholeOperation(Collector):
    """Base of operations that need all pairs of positions."""

    needs_self = True
    is_seen_whole = True
    #: The matrix, what becomes of it, and what lies between.
    copies = 3

    @property
    def keeps_periods(self) -> bool:
        return False

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        return given.all().rows

    def start(self, below: Diagonals, here: Diagonals, lanes: tuple[int, ...]) -> tuple[int, ...]:
        return rows_shape(below.all(), lanes)

    def add(
        self, total: Array, rows: Array, shift: Any, lanes: tuple[Any, ...], below: Diagonals,
        here: Diagonals,
    ) -> Array:  # fmt: skip
        return put(total, rows, shift, lanes, below.all())

    def whole(self, pairs: Pairs, seen: Seen, step: Step) -> Pairs:
        """The matrices after the operation, of those before, in the forms of the step.

        The two sides of `seen` are what `of_image` says that pairs need, images last.
        """
        raise NotImplementedError

    def stored(self, rows: Pairs, seen: Seen, step: Step) -> Pairs:
        after = self.whole(rows.map(lambda a: to_matrix(a, step.below.all())), seen, step)
        return after.map(lambda a: from_matrix(a, step.here.cross))


class _Linear(NamedTuple):
    """What pairs need of an image."""

    weights: Array  # [P, p, image], positions of all axes in one
    mixture: Mixture | None  # [P, image]
    before: Before | None  # for images that nearly agree


class LinearMap(WholeOperation):
    """Base of linear maps of positions whose weights belong to an image.

    A subclass says `infer` and `weights`; distances, tangents and variances follow.
    """

    def weights(self, image: Image, own: Array | None, step: Step) -> Array:
        """A of every image, `[P, p, image]`, positions of all spatial axes in one.

        `own` is the image's kernel with itself before, `[image, p, q]`, in the units of f; None
        where it is not known. Weights from data of the image are in `image.data`.
        """
        raise NotImplementedError

    def mixing(self, image: Image, own: Array, context: Context) -> tuple[Array, Array]:
        """The weights with which g after the map is made of g before it, and the scale after.

        `own` is the kernel of g before. Overridden where weights may be beyond the range of their
        dtype.
        """
        in_units_of_f = own * jnp.square(image.scale)[:, None, None]
        return self.weights(image, in_units_of_f, context.step), image.scale

    def of_weights(self, weights: Array) -> _Linear:
        """What pairs need of an image of these weights, where covariances are held."""
        return _Linear(weights, None, None)

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, _Linear]:
        (image,), step = images, context.step
        below = square(to_matrix(context.own.moment, step.below.all()), step.below)
        own = below
        if image.variance is not None:
            var = flat_map(image.variance, step.below).T
            own = 0.5 * (var[:, :, None] + var[:, None, :] - below)
        weights, scale = self.mixing(image, own, context)
        image = dataclasses.replace(image, scale=scale)
        if image.variance is None:
            return image, self.of_weights(weights)
        mean = jnp.einsum("Ppn,np->Pn", weights, var, precision=lax.Precision.HIGHEST)
        mixed = _mapped(below, weights, weights)
        energy = 0.5 * jnp.diagonal(mixed, axis1=-2, axis2=-1).T
        mixture = Mixture(mean, jnp.sum(weights, 1), energy)
        apart = jnp.moveaxis(mixed, 0, -1) - energy[:, None] - energy[None]
        before = Before(weights, var.T, jnp.moveaxis(below, 0, -1), apart)
        after = padded_map(positive_part(mixture.variance()), step.here.cross)
        return image.with_variance(after), _Linear(weights, mixture, before)

    def whole(self, pairs: Pairs, seen: Seen, step: Step) -> Pairs:
        first, second, here = seen.first, seen.second, step.here.cross
        given = pairs.map(lambda a: square(a, step.below))

        def mapped(matrix: Array) -> Array:
            return _mapped(matrix, first.weights, second.weights)

        if not step.here.form.is_distance:
            return given.map(mapped).map(lambda a: interleaved(a, here))
        are_pairs = given.moment.ndim > 3
        sides = as_pairs(first.mixture, second.mixture, are_pairs)

        def plain(matrix: Array) -> Array:
            """M - e1 - e2, of pairs that do not nearly agree."""
            return mapped(matrix) - sides[0].energy - sides[1].energy

        if are_pairs:
            one, two = first.before, second.before
            is_near = any_near(given.moment, one.variance, two.variance, seen.same)
            near = lambda matrix: mixed_of_near(matrix, one, two)  # noqa: E731
            mixed = lax.cond(is_near, near, plain, given.moment)
        else:
            mixed = plain(given.moment)
        distance = positive_part(mixed + across_masses(*sides))
        if seen.same is not None:
            distance = jnp.where(of_themselves(seen.same, distance), 0.0, distance)
        ntk = None if given.ntk is None else mapped(given.ntk)
        return Pairs(distance, ntk).map(lambda a: interleaved(a, here))


def flat_map(image_map: Array, grid: Diagonals) -> Array:
    """A map of positions as `[p, image]`, those of all axes in one."""
    return image_map[grid.crop].reshape(math.prod(grid.sizes), *image_map.shape[grid.ndim :])


def padded_map(flat: Array, grid: Diagonals) -> Array:
    """The inverse of `flat_map`."""
    array = flat.reshape(*grid.sizes, flat.shape[-1])
    pad = [(0, n - size) for size, n in zip(grid.sizes, grid.periods, strict=True)]
    return jnp.pad(array, [*pad, (0, 0)])


def of_themselves(same: Array, matrix: Array) -> Array:
    """Which entries `[*lanes, p, q]` are of one position of an image with itself."""
    eye = jnp.eye(matrix.shape[-1], dtype=bool)
    return same[..., None, None] & on_positions(eye, matrix.ndim)


def as_pairs(first: Any, second: Any, are_pairs: bool) -> tuple[Any, Any]:
    """Maps `[P, image]` of both sides as `[*lanes, P, Q]` sees them."""
    one = jax.tree.map(lambda a: a.T[:, None, :, None] if are_pairs else a.T[:, :, None], first)
    two = jax.tree.map(lambda a: a.T[None, :, None, :] if are_pairs else a.T[:, None, :], second)
    return one, two


def _mapped(matrix: Array, first: Array, second: Array) -> Array:
    """A1 K A2^T of every lane."""
    spec = "Ppm,mnpq,Qqn->mnPQ" if matrix.ndim > 3 else "Ppn,npq,Qqn->nPQ"
    return jnp.einsum(spec, first, matrix, second, precision=lax.Precision.HIGHEST)


def square(matrix: Array, grid: Diagonals) -> Array:
    """Interleaved positions as one axis of each side: [*lanes, p1, q1, ...] -> [*lanes, p, q]."""
    lanes = matrix.ndim - 2 * grid.ndim
    order = (*range(lanes), *range(lanes, matrix.ndim, 2), *range(lanes + 1, matrix.ndim, 2))
    count = math.prod(grid.sizes)
    return jnp.transpose(matrix, order).reshape(*matrix.shape[:lanes], count, count)


def interleaved(matrix: Array, grid: Diagonals) -> Array:
    """The inverse of `square`."""
    lanes, ndim = matrix.ndim - 2, grid.ndim
    array = matrix.reshape(*matrix.shape[:lanes], *grid.sizes, *grid.sizes)
    order = [lanes + k + side * ndim for k in range(ndim) for side in range(2)]
    return jnp.transpose(array, (*range(lanes), *order))
