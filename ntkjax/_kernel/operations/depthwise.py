"""Weights for each channel alone: DepthwiseConv.

    f_cj = w_cj x_c + b_cj,    K <- s_w^2 K + s_b^2,    Theta <- s_w^2 Theta + a K_in + c,

as of an affine map whose outputs read one channel each: in the standard parameterization, a is the
size of the filter. The kernel is a mean over channels, but a channel, a weight times an activation,
is not Gaussian, and depends on the weights below as the activation does.
"""

import dataclasses

from ntkjax._kernel.algebra.operation import operation
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.operations.affine import Affine


@operation
class Depthwise(Affine):
    """Random weights for each channel alone; `channels` outputs of each."""

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        return dataclasses.replace(
            signal.with_channels(signal.channels * self.channels),
            is_gaussian=False,
            sources=signal.sources | {source},
            reason="a weight times an activation, in each channel of a DepthwiseConv",
        )

    def _read(self, signal: Signal) -> int:
        return 1
