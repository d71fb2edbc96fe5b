"""Operations on each entry alone: nonlinearities and their normalising cousin.

A dual activation is two pointwise functions (see `ntkjax._activations`): what it needs of a single
point, made once per image and position, and what it makes of a pair,

    D <- E (f(u) - f(v))^2,    Theta <- Theta * E f'(u) f'(v).
"""

import dataclasses
from typing import Any, Protocol

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.operation import LayerError, RowOperation, Step, operation, static
from ntkjax._kernel.signal import Signal
from ntkjax._kernel.state import Pairs, Row, Side


class Activation(Protocol):
    """The dual of a scalar function f, pointwise; knows nothing of layouts or batches."""

    def variance(self, var: Array) -> Array:
        """E f(u)^2 for u of variance `var`."""
        ...

    def point(self, var: Array) -> Any:
        """Whatever `pair` needs of a point of variance `var`, as a tuple of arrays."""
        ...

    def pair(self, first: Any, second: Any, distance: Array) -> tuple[Array, Array]:
        """E (f(u) - f(v))^2 and E f'(u) f'(v) of a pair with E (u - v)^2 = `distance`."""
        ...


@operation
class Dual(RowOperation):
    """Apply a nonlinearity; the only code that lifts activations to layouts."""

    activation: Activation

    gives_distance = True
    needs_distance = True

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        if not signal.is_gaussian:
            raise LayerError(
                "its input is not Gaussian, and the kernel of a nonlinearity is known for Gaussian "
                "inputs only; insert a Dense or Conv before it."
            )
        return dataclasses.replace(signal, is_gaussian=False)

    def variance(self, variances: tuple[Array, ...], step: Step) -> Array:
        return self.activation.variance(variances[0])

    def image(self, variance: Array | None, side: Side, here: Row, below: Row, step: Step) -> Any:
        assert variance is not None
        return side.see(self.activation.point(variance), here.shift)

    def pair(
        self, pairs: tuple[Pairs, ...], masks: Any, first: Any, second: Any, step: Step
    ) -> Pairs:
        (given,) = pairs
        distance, slope = self.activation.pair(first, second, given.moment)
        return Pairs(distance, None if given.ntk is None else given.ntk * slope)


@operation
class Normalize(RowOperation):
    """Divide by the standard deviation over channels (and positions): LayerNorm.

    With s = 1 / sqrt(eps + mean of v over the normalised positions):

        K <- s1 s2 K,    D <- s1 s2 D + (s1 - s2) (s1 v1 - s2 v2),    Theta <- s1 s2 Theta.
    """

    eps: float | Array
    #: Spatial axes, by their order, over which the variance is averaged.
    over: tuple[int, ...] = static()

    gives_distance = True
    needs_distance = True

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        if not signal.is_gaussian:
            raise LayerError(
                "its input is not Gaussian, and only of Gaussian inputs is the mean over channels "
                "known to vanish; insert a Dense or Conv before it."
            )
        return signal

    def _scale(self, var: Array, step: Step) -> Array:
        """s, at every position."""
        crop = [slice(None)] * step.below.ndim
        for axis in self.over:
            crop[axis] = slice(step.below.sizes[axis])
        mean = jnp.mean(var[tuple(crop)], axis=self.over, keepdims=True)
        positive = mean + self.eps > 0
        root = jnp.sqrt(jnp.where(positive, mean + self.eps, 1.0))
        return jnp.broadcast_to(jnp.where(positive, 1 / root, 0.0), var.shape)

    def variance(self, variances: tuple[Array, ...], step: Step) -> Array:
        (var,) = variances
        return var * self._scale(var, step) ** 2

    def image(
        self, variance: Array | None, side: Side, here: Row, below: Row, step: Step
    ) -> tuple[Array, Array]:
        assert variance is not None
        scale = self._scale(variance, step)
        return side.see((scale, scale * variance), here.shift)

    def pair(
        self, pairs: tuple[Pairs, ...], masks: Any, first: Any, second: Any, step: Step
    ) -> Pairs:
        (given,) = pairs
        (s1, s1_v1), (s2, s2_v2) = first, second
        distance = s1 * s2 * given.moment + (s1 - s2) * (s1_v1 - s2_v2)
        ntk = None if given.ntk is None else s1 * s2 * given.ntk
        return Pairs(jnp.maximum(distance, 0.0), ntk)
