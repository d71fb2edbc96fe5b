"""Attention over positions, in the limit of many heads and channels (Hron et al. 2020).

Scores scaled by the number of key channels converge to the image's own kernel, so that attention is
a linear map of positions whose weights belong to the image (`Attend`, arXiv 2006.10540, section
3.1):

    z = A x,    A = f(c K~),    K' = A1 K A2^T,    Theta' = A1 Theta A2^T,

with K~ the kernel that keys and queries see (positional embeddings included), c the product of
their standard deviations, and f the softmax over key positions, or a function of each entry.

Scores scaled by its root stay Gaussian, and of f(x) = x there is a closed form (`AttendProducts`,
section 3.2): with S = <K~, K> summed over all pairs of positions,

    K' = K~ S,    Theta' = Theta~ S + K~ (<Theta~, K> + <K~, Theta>).

Both leave weights of variance 1 to the affine maps after them: one for each matrix that the layer
trains. Weights need the true scale of an image: of g = f / s and m the larger of s and the standard
deviation of embeddings, K~ = m^2 (w (s / m)^2 K_g + R / m^2), whose brackets are of order 1.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.algebra.boundary import recomputed
from ntkjax._kernel.algebra.diagonals import to_matrix
from ntkjax._kernel.algebra.form import Form
from ntkjax._kernel.algebra.image import Ahead, Image, new_scale
from ntkjax._kernel.algebra.operation import Context, Seen, Step, operation, static, taken
from ntkjax._kernel.algebra.pairs import Pairs, added, covariance, rescaled
from ntkjax._kernel.algebra.roots import positive_part, safe_sqrt
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.operations.near import Kernels, any_near, sums_apart
from ntkjax._kernel.operations.positions import Embeddings
from ntkjax._kernel.operations.whole import (
    LinearMap,
    WholeOperation,
    as_pairs,
    flat_map,
    interleaved,
    of_themselves,
    padded_map,
    square,
)

#: Standard deviations of g beyond this one are of images whose kernels are infinite.
_LARGEST = 1e9


class Factors(NamedTuple):
    """How K~ is made of the kernel of g: numbers of each image, `[image]`.

    K~ of two images is m1 m2 (w c1 c2 K_g + R i1 i2).
    """

    size: Array  # m
    scale: Array  # c = s / m
    inverse: Array  # i = 1 / m; 0 where a position is masked, `[p, image]`


def _factors(image: Image, embeddings: Embeddings | None, positions: int) -> Factors:
    scale = image.scale
    if embeddings is None:
        return Factors(scale, jnp.ones_like(scale), jnp.zeros_like(scale)[None])
    variance = lax.stop_gradient(jnp.asarray(embeddings.variance, scale.dtype))
    size = jnp.maximum(scale, jnp.sqrt(jnp.maximum(variance, 0.0)))
    inverse = jnp.broadcast_to(1 / size[None], (positions, *scale.shape))
    masked = _masked(image)
    if masked is not None:
        inverse = jnp.where(masked, 0.0, inverse)
    return Factors(size, scale / size, inverse)


def _masked(image: Image) -> Array | None:
    """Which positions are masked, `[p, image]`."""
    return None if image.mask is None else image.mask.reshape(-1, image.mask.shape[-1])


def _seen_by_keys(own: Array, factors: Factors, embeddings: Embeddings | None) -> Array:
    """K~ / m^2 of images with themselves, `[image, p, q]`."""
    if embeddings is None:
        return own
    inverse = factors.inverse.T
    of_positions = inverse[:, :, None] * inverse[:, None, :] * embeddings.matrix(own.dtype)[None]
    return embeddings.input_var * jnp.square(factors.scale)[:, None, None] * own + of_positions


def _renewed(size: Array, factors: tuple[Array, ...], ahead: Ahead) -> tuple[Array, Array]:
    """The new scale of images of standard deviations `size`, `[P, image]`, times some factors.

    And what to multiply by in the new scale: the factors over it, in this order.
    """
    limits = jnp.finfo(size.dtype)
    size = lax.stop_gradient(size)
    true = size
    for factor in factors:
        true = jnp.minimum(true * factor[None], limits.max)
    scale = new_scale(true, ahead, (0,))
    product = factors[0] / scale
    for factor in factors[1:]:
        product = product * factor
    # Only where the true scale is beyond the range is it larger than that.
    largest = jnp.maximum(jnp.max(size, 0), limits.tiny)
    return scale, jnp.minimum(product, jnp.minimum(_LARGEST / largest, limits.max))


@operation
class Attend(LinearMap):
    """Average over positions with weights made of the image's own kernel."""

    score: float | Array
    embeddings: Embeddings | None
    #: "SOFTMAX", "IDENTITY", "ABS" or "RELU".
    mechanism: str = static()

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        positive = signal.is_nonnegative and self.mechanism != "IDENTITY"
        return dataclasses.replace(signal, is_nonnegative=positive)

    def renews_scale(self, scales: tuple[int, ...]) -> bool:
        """Softmax alone gives weights that sum to 1."""
        return self.mechanism != "SOFTMAX"

    def mixing(self, image: Image, own: Array, context: Context) -> tuple[Array, Array]:
        factors = _factors(image, self.embeddings, own.shape[-1])
        scores = self.score * _seen_by_keys(own, factors, self.embeddings)
        masked = _masked(image)
        if masked is not None:  # no attention is paid to keys there
            least = -0.25 * jnp.finfo(scores.dtype).max if self.mechanism == "SOFTMAX" else 0.0
            scores = jnp.where(masked.T[:, None, :], least, scores)
        if self.mechanism == "SOFTMAX":
            # Shifted first, so that the largest score is 0 and none overflows to infinity.
            size = factors.size[:, None, None]
            shifted = scores - lax.stop_gradient(jnp.max(scores, -1, keepdims=True))
            return jnp.moveaxis(jax.nn.softmax(size * (size * shifted), -1), 0, -1), image.scale
        functions = {"IDENTITY": lambda x: x, "ABS": jnp.abs, "RELU": jax.nn.relu}
        weights = jnp.moveaxis(functions[self.mechanism](scores), 0, -1)
        constant = lax.stop_gradient((weights, own))
        var = jnp.einsum(
            "Ppn,npq,Pqn->Pn", constant[0], constant[1], constant[0],
            precision=lax.Precision.HIGHEST,
        )  # fmt: skip
        size = jnp.sqrt(jnp.maximum(var, 0.0))
        grown = image.scale, factors.size, factors.size
        scale, factor = _renewed(size, grown, context.ahead)
        return weights * factor[None, None], scale


class _Side(NamedTuple):
    """What pairs of `AttendProducts` need of an image, `[p, image]` or `[1, image]`."""

    factors: Factors
    total: Array  # S of the image with itself
    var: Array  # of g, in distance form
    seen: Array  # K~[p, p] / m^2
    factor: Array  # from K~ S, without its sizes, to the new scale


class _Sides(NamedTuple):
    """The same, and what pairs that nearly agree need: distances of an image with itself."""

    side: _Side
    own: tuple[Array, Array] | None  # of g and of K~ / m^2, `[p, q, image]`; in distance form


@operation
class AttendProducts(WholeOperation):
    """Attention by Gaussian scores, which are themselves the weights."""

    embeddings: Embeddings | None

    unmasks = False

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        return dataclasses.replace(signal, is_gaussian=False, is_nonnegative=False)

    def accepts(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> tuple[Form, ...]:
        return (taken(given[0], is_distance, False, ntk),)

    def form(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> Form:
        return Form(is_distance, ntk and (given[0].has_tangent or self.embeddings is not None))

    def renews_scale(self, scales: tuple[int, ...]) -> bool:
        return True

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, _Sides]:
        (image,), step = images, context.step
        distance = own = square(to_matrix(context.own.moment, step.below.all()), step.below)
        before = jnp.ones_like(image.scale)[None]  # of no use where covariances are held
        if image.variance is not None:
            before = flat_map(image.variance, step.below)
            var = before.T
            own = covariance(var[:, :, None], var[:, None, :], distance)
        factors = _factors(image, self.embeddings, own.shape[-1])
        by_keys = _seen_by_keys(own, factors, self.embeddings)
        total = jnp.maximum(jnp.einsum("npq,npq->n", by_keys, own), 0.0)[None]
        seen = jnp.maximum(jnp.diagonal(by_keys, axis1=-2, axis2=-1).T, 0.0)
        size = safe_sqrt(seen * total)
        grown = image.scale, factors.size, factors.size
        scale, factor = _renewed(size, grown, context.ahead)
        factor = factor[None]
        known = image.variance is not None
        after = padded_map(jnp.square(factor) * seen * total, step.here.cross) if known else None
        of_keys = Factors(factors.size[None], factors.scale[None], factors.inverse)
        side = _Side(of_keys, total, before, seen, factor)
        image = Image(scale, after, image.data)
        if not known:
            return image, _Sides(side, None)
        same = as_pairs(side, side, False)
        by_keys = self._distance_by_keys(distance, *same)
        return image, _Sides(side, (jnp.moveaxis(distance, 0, -1), jnp.moveaxis(by_keys, 0, -1)))

    def whole(self, pairs: Pairs, seen: Seen, step: Step) -> Pairs:
        matrices = pairs.map(lambda a: square(a, step.below))
        sides, are_pairs = (seen.first, seen.second), matrices.moment.ndim > 3
        first, second = as_pairs(sides[0].side, sides[1].side, are_pairs)
        if step.here.form.is_distance:
            made = self._of_distances(matrices, sides, first, second, seen.same)
        else:
            cov, by_keys = matrices.moment, self._by_keys(matrices.moment, first, second)
            moment = first.factor * second.factor * by_keys * _dot(by_keys, cov)
            made = Pairs(moment, self._tangents(matrices, cov, by_keys, first, second))
        made = made if step.here.form.has_tangent else Pairs(made.moment)
        return made.map(lambda a: interleaved(a, step.here.cross))

    def _of_distances(
        self, given: Pairs, sides: tuple[_Sides, _Sides], first: _Side, second: _Side,
        same: Array | None,
    ) -> Pairs:  # fmt: skip
        """Of a product of two kernels, that of positions (a = K~) and that of images (b = S).

        D' = Ka Db + Kb Da + e1a e1b + e2a e2b, with e = v - K.
        """
        cov = covariance(first.var, second.var, given.moment)
        by_keys = self._by_keys(cov, first, second)
        total = _dot(by_keys, cov)
        distance = self._distance_by_keys(given.moment, first, second)

        def plain(_: Any) -> Array:
            return first.total + second.total - 2 * total

        def near(arrays: Any) -> Array:
            return _sums_apart(arrays, *sides)

        apart = plain(None)
        if given.moment.ndim > 3:
            arrays = cov, given.moment, by_keys, distance
            is_near = any_near(given.moment, sides[0].side.var, sides[1].side.var, same)
            apart = lax.cond(is_near, near, plain, arrays)
        apart = positive_part(apart)
        if same is not None:
            apart = jnp.where(same[..., None, None], 0.0, apart)
        distance = (
            by_keys * apart
            + total * distance
            + 0.25 * (first.seen - second.seen + distance) * (first.total - second.total + apart)
            + 0.25 * (second.seen - first.seen + distance) * (second.total - first.total + apart)
        )
        one, two = ((s.factor, s.factor * s.seen * s.total) for s in (first, second))
        distance = positive_part(rescaled(distance, one, two))
        if same is not None:
            distance = jnp.where(of_themselves(same, distance), 0.0, distance)
        return Pairs(distance, self._tangents(given, cov, by_keys, first, second))

    def _by_keys(self, kernel: Array, first: _Side, second: _Side) -> Array:
        """K~ / (m1 m2), or the same of tangents."""
        if self.embeddings is None:
            return kernel
        (_, c1, i1), (_, c2, i2) = first.factors, second.factors
        return self.embeddings.input_var * (c1 * c2) * kernel + i1 * i2 * self._matrix(kernel)

    def _distance_by_keys(self, distance: Array, first: _Side, second: _Side) -> Array:
        """The distance that belongs to K~ / (m1 m2)."""
        if self.embeddings is None:
            return distance
        (_, c1, i1), (_, c2, i2) = first.factors, second.factors
        matrix, variance = (
            self._matrix(distance),
            jnp.asarray(self.embeddings.variance, distance.dtype),
        )
        of_input = rescaled(distance, (c1, c1 * first.var), (c2, c2 * second.var))
        of_positions = variance * jnp.square(i1 - i2) + 2 * (variance - matrix) * (i1 * i2)
        return self.embeddings.input_var * of_input + of_positions

    def _matrix(self, like: Array) -> Array:
        """R as pairs see it."""
        assert self.embeddings is not None
        matrix = self.embeddings.matrix(like.dtype)
        return matrix.reshape(*(1,) * (like.ndim - 2), *matrix.shape)

    def _tangents(
        self, given: Pairs, cov: Array, by_keys: Array, first: _Side, second: _Side
    ) -> Array | None:
        """Theta~ S + K~ (<Theta~, K> + <K~, Theta>), in the new scales."""
        if given.ntk is None and self.embeddings is None:
            return None
        ntk = jnp.zeros_like(cov) if given.ntk is None else given.ntk
        of_keys = self._by_keys(ntk, first, second)
        both = added(_dot(of_keys, cov), _dot(by_keys, ntk))
        return first.factor * second.factor * (of_keys * _dot(by_keys, cov) + by_keys * both)


def _sums_apart(arrays: tuple[Array, ...], first: _Sides, second: _Sides) -> Array:
    """S11 + S22 - 2 S12 of all pairs, one first image after the other.

    `arrays` are K, its distances, K~ and its distances, `[n1, n2, p, q]`.
    """
    assert first.own is not None
    assert second.own is not None
    of_second = second.side.var, second.own[0], second.side.seen, second.own[1]
    of_first = first.side.var, first.own[0], first.side.seen, first.own[1]

    def one(given: Any) -> Array:
        pairs, image = given
        cov, distance, by_keys, of_keys = (a[None] for a in pairs)
        var, own, seen, own_keys = (a[..., None] for a in image)
        var2, own2, seen2, own_keys2 = of_second
        kernel = Kernels(cov, distance, var, var2, own, own2)
        return sums_apart(kernel, Kernels(by_keys, of_keys, seen, seen2, own_keys, own_keys2))[0]

    images = jax.tree.map(lambda a: jnp.moveaxis(a, -1, 0), of_first)
    return lax.map(recomputed(one), (arrays, images))


def _dot(a: Array, b: Array) -> Array:
    """Sum over all pairs of positions, `[*lanes, 1, 1]`."""
    return jnp.sum(a * b, (-2, -1), keepdims=True)
