"""Affine map with random weights: Dense, and the weights and biases of every linear layer.

With weights of variance s_w^2 / fan_in and biases of variance s_b^2 (Lee et al. 2018, eq. 4-5):

    K <- s_w^2 K + s_b^2,    D <- s_w^2 D,    Theta <- s_w^2 Theta + a K_in + c.

The last two terms are the contribution of this layer's own parameters. In the NTK parameterization
a = s_w^2, c = s_b^2 (Jacot et al. 2018); in the standard one a is the width that feeds each output
and c = 1 where there is a bias (Sohl-Dickstein et al. 2020, arXiv 2001.07301, eq. 7). In the NTK
parameterization they are the new covariance K', so that the excess over it is just

    (Theta - K)' = s_w^2 Theta.
"""

import dataclasses
from typing import Any

from jax import Array

from ntkjax._kernel.algebra.operation import RowOperation, Step, operation, static
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.algebra.state import Pairs, added, covariance

Scalar = float | Array


@operation
class Affine(RowOperation):
    """Random weights of variance `weight_var` / fan_in, biases of variance `bias_var`.

    `width_scale` is None in the NTK parameterization; in the standard one, what to multiply the
    number of input channels by for the factor a above (filter size over width scaling s[0]).
    """

    weight_var: Scalar
    bias_var: Scalar | None
    channels: int = static()
    width_scale: float | None = static(default=None)

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        out = signal.with_channels(self.channels)
        return dataclasses.replace(out, is_gaussian=True, sources=frozenset({source}))

    @property
    def reads_channels(self) -> bool:
        return self.width_scale is not None

    def _tangent_scales(self, signal: Signal) -> tuple[Scalar, Scalar]:
        """The factors a and c of the layer's own contribution to the NTK."""
        if self.width_scale is None:
            return self.weight_var, 0.0 if self.bias_var is None else self.bias_var
        return self.width_scale * signal.channels, 0.0 if self.bias_var is None else 1.0

    def variance(self, variances: tuple[Array, ...], step: Step) -> Array:
        (var,) = variances
        return self.weight_var * var + (0.0 if self.bias_var is None else self.bias_var)

    def is_excess(self, given: tuple[bool, ...], in_distances: bool) -> bool:
        return in_distances and self.width_scale is None

    def has_tangent(self, given: bool, step: Step) -> bool:
        return given or not step.is_excess

    def takes_excess(self, is_excess: bool) -> bool:
        return False

    def maps(self, variance: Array | None, step: Step) -> Array | None:
        """The variance, from which the covariance in the tangent term is made."""
        needed = step.ntk and step.in_distances and not step.is_excess
        return variance if needed else None

    def pair(
        self, pairs: tuple[Pairs, ...], masks: Any, first: Any, second: Any, step: Step
    ) -> Pairs:
        (given,) = pairs
        ntk = None if given.ntk is None else self.weight_var * given.ntk
        if step.ntk and not step.is_excess:  # of an excess, Theta' - K', that is all: a K + c = K'
            own_weight, own_bias = self._tangent_scales(step.signal)
            moment = given.moment
            cov = covariance(first, second, moment) if step.in_distances else moment
            ntk = added(ntk, own_weight * cov + own_bias)
        moment = self.weight_var * given.moment
        if not step.in_distances and self.bias_var is not None:
            moment = moment + self.bias_var
        return Pairs(moment, ntk)
