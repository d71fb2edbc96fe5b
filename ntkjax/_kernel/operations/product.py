"""Product of branches: FanInProd.

Let f = a b be the product, channel by channel, of two independent branches. Then

    K = K_a K_b,    Theta = Theta_a K_b + K_a Theta_b,

and with e_i = v_i - K of each branch, e_1 = (v1 - v2 + D) / 2 and e_2 = (v2 - v1 + D) / 2,

    D = K_a D_b + K_b D_a + e_1a e_1b + e_2a e_2b,

in which nothing cancels for near points. The product of two held kernels is that of
g_a g_b = f / (s_a s_b): scales multiply. More branches are multiplied one after the other.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.form import Form
from ntkjax._kernel.algebra.image import Image, combined_scale, on_positions
from ntkjax._kernel.algebra.operation import (
    Context,
    LayerError,
    RowOperation,
    Seen,
    Step,
    operation,
    taken,
)
from ntkjax._kernel.algebra.pairs import Pairs, added, covariance, rescaled
from ntkjax._kernel.algebra.roots import positive_part
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.operations.combine import (
    all_sources,
    check_equal_shapes,
    check_independent,
    joined_data,
)


class _Maps(NamedTuple):
    """What the pairs of a product need of an image."""

    variances: tuple[Array | None, ...]  # of every branch
    factor: Array  # from the product of the scales to the new scale
    product: Array | None  # that times the product of the variances


class _Factor(NamedTuple):
    """One branch, or a product of some, as its pairs see it."""

    first: Array | None
    second: Array | None
    moment: Array
    ntk: Array | None


@operation
class Product(RowOperation):
    """Product of independent branches."""

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        first = signals[0]
        check_equal_shapes(signals, "multiplied")
        if len(signals) == 1:
            return first
        check_independent(signals)
        unlike = [i for i, signal in enumerate(signals) if not signal.has_alike_channels]
        if len(unlike) > 1:
            raise LayerError(
                f"the channels of branches {unlike[0]} and {unlike[1]} are not identically "
                "distributed, as those of inputs, flattened positions or concatenated branches are "
                "not, so that the mean of their product over channels is no product of means; end "
                "one of them with a Dense or Conv of its own."
            )
        return dataclasses.replace(
            first,
            is_gaussian=False,
            reason="a product of branches",
            sources=all_sources(signals),
            is_nonnegative=all(s.is_nonnegative for s in signals),
            is_alike=not unlike,
        )

    def accepts(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> tuple[Form, ...]:
        # Of an excess Theta - K nothing simple can be made.
        return tuple(taken(form, is_distance, False, ntk) for form in given)

    def form(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> Form:
        return Form(is_distance, ntk and any(form.has_tangent for form in given))

    def renews_scale(self, scales: tuple[int, ...]) -> bool:
        return True

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, _Maps]:
        limits = jnp.finfo(images[0].scale.dtype)
        product = functools.reduce(jnp.multiply, (image.scale for image in images))
        product = jnp.clip(product, limits.tiny, limits.max)
        scale = combined_scale([product], context.ahead)
        factor = on_positions(product / scale, context.step.below.ndim + 1)
        variances = tuple(image.variance for image in images)
        weighted = None
        if images[0].variance is not None:
            weighted = factor * functools.reduce(
                jnp.multiply, (image.required_variance() for image in images)
            )
        var = None if weighted is None else factor * weighted
        return Image(scale, var, joined_data(images)), _Maps(variances, factor, weighted)

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        first, second = seen.first, seen.second
        sides = zip(first.variances, second.variances, pairs, strict=True)
        branches = [_Factor(v1, v2, given.moment, given.ntk) for v1, v2, given in sides]
        made = functools.reduce(_times, branches)
        both = first.factor * second.factor
        if step.here.form.is_distance:
            before: Any = (first.factor, first.product), (second.factor, second.product)
            moment = positive_part(rescaled(made.moment, *before))
        else:
            moment = both * made.moment
        return Pairs(moment, None if made.ntk is None else both * made.ntk)


def _times(a: _Factor, b: _Factor) -> _Factor:
    """The product of two branches."""
    if a.first is None or a.second is None or b.first is None or b.second is None:
        cov_a, cov_b = a.moment, b.moment
        return _Factor(None, None, cov_a * cov_b, _tangent(a, b, cov_a, cov_b))
    cov_a, cov_b = covariance(a.first, a.second, a.moment), covariance(b.first, b.second, b.moment)
    e1a, e2a = _excesses(a.first, a.second, a.moment)
    e1b, e2b = _excesses(b.first, b.second, b.moment)
    distance = cov_a * b.moment + cov_b * a.moment + e1a * e1b + e2a * e2b
    ntk = _tangent(a, b, cov_a, cov_b)
    return _Factor(a.first * b.first, a.second * b.second, distance, ntk)


def _excesses(first: Array, second: Array, distance: Array) -> tuple[Array, Array]:
    """v1 - K and v2 - K."""
    return 0.5 * (first - second + distance), 0.5 * (second - first + distance)


def _tangent(a: _Factor, b: _Factor, cov_a: Array, cov_b: Array) -> Array | None:
    """Theta_a K_b + K_a Theta_b; None where both vanish."""
    ntk = None if a.ntk is None else a.ntk * cov_b
    return ntk if b.ntk is None else added(ntk, b.ntk * cov_a)
