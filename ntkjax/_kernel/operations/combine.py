"""Sum of branches: FanInSum.

Distances, variances, covariances and tangents of independent branches all add, once they are held
in the same scales.
"""

import dataclasses
import functools
import operator
from typing import Any

from jax import Array

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
from ntkjax._kernel.algebra.signal import Signal


@operation
class Sum(RowOperation):
    """Sum of independent zero-mean branches."""

    carries_supplement = True
    works_unscaled = True
    unmasks = False

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        first = signals[0]
        shapes = [(s.shape1, s.shape2, s.batch_axis, s.channel_axis) for s in signals]
        if len(set(shapes)) > 1:
            raise LayerError(
                f"its branches have shapes {[s.shape1 for s in signals]} "
                f"({', '.join(s.layout for s in signals)}), but only equal shapes can be added; "
                "give the branches the same channels, strides and padding."
            )
        if len(signals) > 1:
            _check_independent(signals)
        sources = frozenset(name for s in signals for name in s.sources)
        gaussian = all(s.is_gaussian for s in signals)
        nonnegative = all(s.is_nonnegative for s in signals)
        return dataclasses.replace(
            first, is_gaussian=gaussian, sources=sources, is_nonnegative=nonnegative
        )

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, Any]:
        """The sum; where scales differ, the factor s_b / s of each branch, and that times v."""
        data = functools.reduce(operator.or_, (image.data for image in images))
        known = images[0].variance is not None
        if not context.step.renews_scale:
            var = _total([image.required_variance() for image in images]) if known else None
            return Image(images[0].scale, var, data), None
        scale = combined_scale([image.scale for image in images], context.ahead)
        ndim = context.step.below.ndim + 1
        maps, terms = [], []
        for image in images:
            factor = on_positions(image.scale / scale, ndim)
            product = factor * image.required_variance() if known else None
            maps.append((factor, product))
            terms.append(None if product is None else factor * product)
        return Image(scale, _total(terms) if known else None, data), tuple(maps)

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        if step.renews_scale:
            sides = zip(pairs, seen.first, seen.second, strict=True)
            is_distance = step.here.form.is_distance
            pairs = tuple(_in_new_scale(*branch, is_distance) for branch in sides)
        tangents = [given.ntk for given in pairs if given.ntk is not None]
        return Pairs(_total([given.moment for given in pairs]), _total(tangents))


def _in_new_scale(given: Pairs, first: Any, second: Any, is_distance: bool) -> Pairs:
    """A branch in the scales of the sum."""
    product = first[0] * second[0]
    moment = rescaled(given.moment, first, second) if is_distance else product * given.moment
    return Pairs(moment, None if given.ntk is None else product * given.ntk)


def _total(terms: list[Array]) -> Any:
    return functools.reduce(operator.add, terms) if terms else None


def _check_independent(signals: tuple[Signal, ...]) -> None:
    """Branches may be added when each is zero-mean Gaussian, by weights of its own."""
    for i, signal in enumerate(signals):
        if not signal.is_gaussian:
            raise LayerError(
                f"branch {i} is not a zero-mean Gaussian, so that its covariance with the others "
                "need not vanish; end it with a Dense or Conv (and put one before a skip "
                "connection from the input)."
            )
        for j, other in enumerate(signals[:i]):
            shared = signal.sources & other.sources
            if shared:
                raise LayerError(
                    f"branches {j} and {i} both depend linearly on the weights of "
                    f"{', '.join(sorted(shared))}, so that their covariance does not vanish; end "
                    "one of them with a Dense or Conv of its own."
                )
