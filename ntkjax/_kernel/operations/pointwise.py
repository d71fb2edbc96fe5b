"""Operations on each entry alone: nonlinearities and their normalising cousin.

A dual activation is two pointwise functions (see `ntkjax._activations`): what it needs of a single
point, made once per image and position, and what it makes of a pair,

    D <- E (f(u) - f(v))^2,    Theta <- Theta * E f'(u) f'(v).
"""

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.operation import (
    LayerError,
    Operation,
    Step,
    map_pairs,
    map_variances,
    operation,
    static,
)
from ntkjax._kernel.signal import Signal
from ntkjax._kernel.state import Pairs, State, View


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
class Dual(Operation):
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

    def apply(self, states: tuple[State, ...], step: Step) -> State:
        (state,) = states

        def pairs(pairs: Pairs, before: View, after: View) -> Pairs:
            first = jax.tree.map(before.first, self.activation.point(before.var1))
            second = jax.tree.map(before.second, self.activation.point(before.var2))
            distance, slope = self.activation.pair(first, second, pairs.distance)
            return Pairs(distance=distance, ntk=None if pairs.ntk is None else pairs.ntk * slope)

        after = map_variances(state, self.activation.variance, step.symmetric)
        return map_pairs(state, step, after, pairs)


@operation
class Normalize(Operation):
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

    def apply(self, states: tuple[State, ...], step: Step) -> State:
        (state,) = states

        def scale(var: Array) -> Array:
            crop = [slice(None)] * len(step.given.sizes)
            for axis in self.over:
                crop[axis] = slice(step.given.sizes[axis])
            mean = jnp.mean(var[tuple(crop)], axis=self.over, keepdims=True)
            positive = mean + self.eps > 0
            root = jnp.sqrt(jnp.where(positive, mean + self.eps, 1.0))
            return jnp.broadcast_to(jnp.where(positive, 1 / root, 0.0), var.shape)

        def pairs(pairs: Pairs, before: View, after: View) -> Pairs:
            s1, v1 = before.first(scale(before.var1)), before.first(before.var1)
            s2, v2 = before.second(scale(before.var2)), before.second(before.var2)
            distance = s1 * s2 * pairs.distance + (s1 - s2) * (s1 * v1 - s2 * v2)
            ntk = None if pairs.ntk is None else s1 * s2 * pairs.ntk
            return Pairs(distance=jnp.maximum(distance, 0.0), ntk=ntk)

        def variance(var: Array) -> Array:
            return var * scale(var) ** 2

        return map_pairs(state, step, map_variances(state, variance, step.symmetric), pairs)
