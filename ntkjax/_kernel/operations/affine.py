"""Affine map with random weights: Dense, and the weights and biases of every linear layer.

With weights of variance s_w^2 / fan_in and biases of variance s_b^2 (Lee et al. 2018, eq. 4-5):

    K <- s_w^2 K + s_b^2,    D <- s_w^2 D,    Theta <- s_w^2 Theta + a K_in + c.

The last two terms are the contribution of this layer's own parameters. In the NTK parameterization
a = s_w^2, c = s_b^2 (Jacot et al. 2018); in the standard one a is the width that feeds each output
and c = 1 where there is a bias (Sohl-Dickstein et al. 2020, arXiv 2001.07301, eq. 7).
"""

import dataclasses

from jax import Array

from ntkjax._kernel.operation import Operation, Step, map_pairs, map_variances, operation, static
from ntkjax._kernel.signal import Signal
from ntkjax._kernel.state import Pairs, State, View

Scalar = float | Array


@operation
class Affine(Operation):
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

    def _tangent_scales(self, signal: Signal) -> tuple[Scalar, Scalar]:
        """The factors a and c of the layer's own contribution to the NTK."""
        if self.width_scale is None:
            return self.weight_var, 0.0 if self.bias_var is None else self.bias_var
        return self.width_scale * signal.channels, 0.0 if self.bias_var is None else 1.0

    def apply(self, states: tuple[State, ...], step: Step) -> State:
        (state,) = states
        bias_var = 0.0 if self.bias_var is None else self.bias_var
        own_weight, own_bias = self._tangent_scales(step.signals[0])

        def pairs(pairs: Pairs, before: View, after: View) -> Pairs:
            ntk = None
            if pairs.ntk is not None:
                ntk = self.weight_var * pairs.ntk + own_weight * before.covariance(pairs)
                ntk = ntk + own_bias
            if pairs.distance is not None:
                return Pairs(distance=self.weight_var * pairs.distance, ntk=ntk)
            return Pairs(covariance=self.weight_var * pairs.covariance + bias_var, ntk=ntk)

        def variance(var: Array) -> Array:
            return self.weight_var * var + bias_var

        return map_pairs(state, step, map_variances(state, variance, step.symmetric), pairs)
