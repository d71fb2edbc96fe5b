"""Sum of branches: FanInSum.

Distances, variances, covariances and tangents of independent branches all add.
"""

import dataclasses
import functools
import operator
from typing import Any

from jax import Array

from ntkjax._kernel.algebra.operation import LayerError, RowOperation, Step, operation
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.algebra.state import Pairs


@operation
class Sum(RowOperation):
    """Sum of independent zero-mean branches."""

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

    def variance(self, variances: tuple[Array, ...], step: Step) -> Array:
        return functools.reduce(operator.add, variances)

    def pair(
        self, pairs: tuple[Pairs, ...], masks: Any, first: Any, second: Any, step: Step
    ) -> Pairs:
        moment = functools.reduce(operator.add, (given.moment for given in pairs))
        tangents = [given.ntk for given in pairs if given.ntk is not None]
        return Pairs(moment, functools.reduce(operator.add, tangents) if tangents else None)


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
