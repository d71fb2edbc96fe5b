"""Subtract fixed means and divide by fixed standard deviations: BatchNorm with given statistics.

With a_c = 1 / sqrt(variance_c + eps) and f_c = a_c (x_c - m_c), of activations x of mean zero whose
channels are alike, the mean over channels is

    K <- <a^2> K + <a^2 m^2>,    D <- <a^2> D,    Theta <- <a^2> Theta.

It is an affine map that has no parameters of its own. Where a mean is not zero, so is that of f,
and where the statistics of channels differ, channels are no longer alike: f is then not a Gaussian
of which the next nonlinearity could know the kernel.
"""

import dataclasses

from ntkjax._kernel.algebra.form import Form
from ntkjax._kernel.algebra.operation import LayerError, Seen, Step, operation
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.operations.affine import Affine


@operation
class Standardize(Affine):
    """An affine map of given variances <a^2> and <a^2 m^2>, without parameters.

    `channels` is how many channels the statistics are of, or 0 where they are the same for all;
    `bias_var` is None where all means are known to be zero.
    """

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        by_channel, centred = self.channels > 0, self.bias_var is None
        if by_channel and signal.channels != self.channels:
            raise LayerError(
                f"it has statistics of {self.channels} channels, but its input of shape "
                f"{signal.shape1} has {signal.channels}; give one number for each channel."
            )
        if not centred and not signal.is_gaussian:
            raise LayerError(
                f"{signal.not_gaussian}, and only of Gaussian inputs is the mean known to vanish, "
                "without which the kernel after subtracting another mean is not known; insert a "
                "Dense or Conv before it, or give mean=0."
            )
        if by_channel and not signal.has_alike_channels:
            raise LayerError(
                "the channels of its input are not distributed alike, as those of inputs, "
                "flattened positions or concatenated branches are not, so that statistics of "
                "single channels say nothing of their mean; standardize the inputs before the "
                "network, or insert a Dense or Conv before it."
            )
        if centred and not by_channel:
            return signal
        reason = "a BatchNorm with a mean" if not centred else "channels of different variances"
        return dataclasses.replace(
            signal, is_gaussian=False, is_alike=not by_channel, reason=reason
        )

    def form(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> Form:
        return Form(is_distance, given[0].has_tangent)

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        (given,) = pairs
        ntk = None if given.ntk is None else self.weight_var * given.ntk
        return Pairs(self._moment(given.moment, seen, step), ntk)
