"""Sums of branches, and their mean over channels: FanInSum, and FanInConcat of channels.

Distances, variances, covariances and tangents of independent branches all add, once they are held
in the same scales. Of branches with c_b channels each, put side by side, the mean over channels is

    K = sum_b w_b K_b,    D = sum_b w_b D_b,    Theta = sum_b w_b Theta_b,    w_b = c_b / sum c,

whether or not the branches are independent: no two channels share a weight of the next layer.
"""

import dataclasses
import functools
import operator
from collections.abc import Sequence
from typing import Any

from jax import Array

from ntkjax._kernel.algebra.errors import UnsupportedLayerError
from ntkjax._kernel.algebra.image import Image, combined_scale, on_positions
from ntkjax._kernel.algebra.operation import (
    Context,
    LayerError,
    RowOperation,
    Seen,
    Step,
    operation,
)
from ntkjax._kernel.algebra.pairs import Pairs, rescaled
from ntkjax._kernel.algebra.signal import Shape, Signal


class Combination(RowOperation):
    """Base of weighted sums of branches, K = sum_b w_b K_b."""

    carries_supplement = True
    works_unscaled = True
    unmasks = False
    works_unscaled = True

    def weights(self, signals: Sequence[Signal]) -> tuple[float, ...] | None:
        """w_b of every branch; None for 1."""
        raise NotImplementedError

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, Any]:
        """The sum; where scales differ, the factor of each branch, and that times its v."""
        step, data = context.step, joined_data(images)
        weights = self._weights(step)
        if step.renews_scale:
            roots = None if weights is None else [weight**0.5 for weight in weights]
            scale, maps = in_common_scale(images, context, roots)
            terms = [None if product is None else factor * product for factor, product in maps]
        else:
            scale, maps = images[0].scale, None
            terms = _weighted([image.variance for image in images], weights)
        known = images[0].variance is not None
        return Image(scale, total(terms) if known else None, data), maps

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        if step.renews_scale:
            sides = zip(pairs, seen.first, seen.second, strict=True)
            is_distance = step.here.form.is_distance
            pairs = tuple(in_new_scale(*branch, is_distance) for branch in sides)
        weights = None if step.renews_scale else self._weights(step)
        moments = _weighted([given.moment for given in pairs], weights)
        tangents = _weighted([given.ntk for given in pairs], weights)
        return Pairs(total(moments), total([ntk for ntk in tangents if ntk is not None]))

    def _weights(self, step: Step) -> tuple[float, ...] | None:
        return self.weights([place.signal for place in step.inputs])


@operation
class Sum(Combination):
    """Sum of independent zero-mean branches."""

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        first = signals[0]
        check_equal_shapes(signals, "added")
        if len(signals) > 1:
            check_zero_mean(signals)
            check_independent(signals)
        gaussian = all(s.is_gaussian for s in signals)
        nonnegative = all(s.is_nonnegative for s in signals)
        return dataclasses.replace(
            first, is_gaussian=gaussian, sources=all_sources(signals), is_nonnegative=nonnegative
        )

    def weights(self, signals: Sequence[Signal]) -> None:
        return None


@operation
class ChannelConcat(Combination):
    """The channels of all branches side by side: the mean of the kernels over channels."""

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        first = signals[0]
        if len(signals) == 1:
            return first
        check_equal_but(signals, first.channel_axis)
        return dataclasses.replace(
            first.with_channels(sum(s.channels for s in signals)),
            is_gaussian=False,
            is_alike=False,
            reason="channels of different branches",
            sources=all_sources(signals),
            is_nonnegative=all(s.is_nonnegative for s in signals),
        )

    def weights(self, signals: Sequence[Signal]) -> tuple[float, ...]:
        count = sum(signal.channels for signal in signals)
        return tuple(signal.channels / count for signal in signals)


# ---- arithmetic that branches share


def in_common_scale(
    images: Sequence[Image], context: Context, roots: Sequence[float] | None = None
) -> tuple[Array, tuple[tuple[Array, Array | None], ...]]:
    """One scale s for all branches, and of each the factor r_b s_b / s, alone and times v_b.

    The roots r_b are 1 unless given.
    """
    roots = [1.0] * len(images) if roots is None else roots
    scales = [root * image.scale for root, image in zip(roots, images, strict=True)]
    scale = combined_scale(scales, context.ahead)
    factors = [on_positions(one / scale, context.step.below.ndim + 1) for one in scales]
    products = [
        None if image.variance is None else factor * image.variance
        for factor, image in zip(factors, images, strict=True)
    ]
    return scale, tuple(zip(factors, products, strict=True))


def in_new_scale(given: Pairs, first: Any, second: Any, is_distance: bool) -> Pairs:
    """A branch in the common scales, of the factors a and products a v of both images."""
    product = first[0] * second[0]
    moment = rescaled(given.moment, first, second) if is_distance else product * given.moment
    return Pairs(moment, None if given.ntk is None else product * given.ntk)


def total(terms: Sequence[Any]) -> Any:
    """The sum of some arrays; None of none."""
    return functools.reduce(operator.add, terms) if terms else None


def joined_data(images: Sequence[Image]) -> dict[str, Any]:
    """The further data of the images of all branches."""
    return functools.reduce(operator.or_, (image.data for image in images))


def _weighted(terms: Sequence[Any], weights: Sequence[float] | None) -> list[Any]:
    """Each term times its weight; None stays None."""
    if weights is None:
        return list(terms)
    pairs = zip(terms, weights, strict=True)
    return [None if term is None else weight * term for term, weight in pairs]


# ---- which branches fit together


def all_sources(signals: Sequence[Signal]) -> frozenset[str]:
    """The weights in which any of the branches is linear."""
    return frozenset(name for signal in signals for name in signal.sources)


def check_equal_shapes(signals: Sequence[Signal], what: str) -> None:
    """All branches must have one shape."""
    if len({(s.shape1, s.shape2, s.batch_axis, s.channel_axis) for s in signals}) > 1:
        raise LayerError(
            f"its branches have shapes {[s.shape1 for s in signals]} "
            f"({', '.join(s.layout for s in signals)}), but only equal shapes can be {what}; "
            "give the branches the same channels, strides and padding."
        )


def check_equal_but(signals: Sequence[Signal], axis: int) -> None:
    """All branches must have one shape, but for one axis."""

    def others(shape: Shape) -> Shape:
        return (*shape[:axis], *shape[axis + 1 :])

    shapes = {
        (others(s.shape1), others(s.shape2), len(s.shape1), s.batch_axis, s.channel_axis)
        for s in signals
    }
    if len(shapes) > 1:
        raise LayerError(
            f"its branches have shapes {[s.shape1 for s in signals]} "
            f"({', '.join(s.layout for s in signals)}), which differ in more than axis {axis}, "
            "along which they are put side by side; give the branches the same channels, strides "
            "and padding, but for that axis."
        )


def check_zero_mean(signals: Sequence[Signal]) -> None:
    """Each branch must be a zero-mean Gaussian, or its covariance with others need not vanish."""
    for i, signal in enumerate(signals):
        if not signal.is_gaussian:
            raise UnsupportedLayerError(
                f"branch {i} is not a zero-mean Gaussian, so that its covariance with the others "
                "need not vanish; end it with a Dense or Conv (and put one before a skip "
                "connection from the input)."
            )


def check_independent(signals: Sequence[Signal]) -> None:
    """Branches must depend on weights of their own."""
    for i, signal in enumerate(signals):
        for j, other in enumerate(signals[:i]):
            shared = signal.sources & other.sources
            if shared:
                raise LayerError(
                    f"branches {j} and {i} both depend linearly on the weights of "
                    f"{', '.join(sorted(shared))}, so that their covariance does not vanish; end "
                    "one of them with a Dense or Conv of its own."
                )
