"""Operations on each entry alone: nonlinearities and their normalising cousin.

A dual activation is two pointwise functions (see `ntkjax._activations`): what it needs of a single
point, made once for each image and position, and what it makes of a pair,

    D <- E (f(u) - f(v))^2,    Theta <- Theta * E f'(u) f'(v).
"""

import dataclasses
import functools
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.operation import LayerError, RowOperation, Step, operation, static
from ntkjax._kernel.algebra.roots import safe_sqrt
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.algebra.state import Pairs, added


class Activation(Protocol):
    """The dual of a scalar function f, pointwise; knows nothing of layouts or batches.

    Attributes:
      is_nonnegative: whether f is, so that its outputs have no negative covariance.
      is_homogeneous: whether f(c x) = c f(x) for c > 0.
      growth: g, where f(x) grows as the power x^g.
    """

    @property
    def is_nonnegative(self) -> bool: ...

    @property
    def is_homogeneous(self) -> bool: ...

    @property
    def growth(self) -> int: ...

    def variance(self, var: Array) -> Array:
        """E f(u)^2 for u of variance `var`."""
        ...

    def point(self, var: Array) -> Any:
        """Whatever `pair` needs of a point of variance `var`, as a tuple of arrays."""
        ...

    def wants_supplement(self, first: Any, second: Any, distance: Array) -> Array:
        """For which pairs E (u + v)^2 would add digits: those that are nearly opposite."""
        ...

    def pair(
        self,
        first: Any,
        second: Any,
        distance: Array,
        *,
        supplement: Array | None = None,
        acute: bool = False,
    ) -> "DualPair":
        """The expectations over a pair with E (u - v)^2 = `distance`.

        `supplement` is E (u + v)^2, from which nearly opposite pairs take digits that `distance`
        lacks; `acute` says that no covariance is negative.
        """
        ...


class DualPair(NamedTuple):
    """What a nonlinearity f makes of a pair (u, v) of Gaussians."""

    distance: Array  # E (f(u) - f(v))^2
    slope: Array  # E f'(u) f'(v)
    covariance: Array  # E u v, of the pair itself


class FarPair(NamedTuple):
    """What a nonlinearity f makes of a pair (u, v) of Gaussians, which may differ much in size."""

    covariance: Array  # E f(u) f(v), relative to the sizes of both
    slope: Array  # E f'(u) f'(v)
    distance: Array | None  # E (f(u) - f(v))^2, relative to itself where u and v are alike


@functools.partial(jax.jit, static_argnames="acute")
def _expectations(
    activation: Activation, first: Any, second: Any, distance: Array, acute: bool
) -> DualPair:
    """`activation.pair`, traced once for all layers that are alike."""
    return activation.pair(first, second, distance, acute=acute)


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
        return dataclasses.replace(
            signal, is_gaussian=False, is_nonnegative=self.activation.is_nonnegative
        )

    def variance(self, variances: tuple[Array, ...], step: Step) -> Array:
        return self.activation.variance(variances[0])

    def is_excess(self, given: tuple[bool, ...], in_distances: bool) -> bool:
        return False

    def has_tangent(self, given: bool, step: Step) -> bool:
        return given or step.given_excess

    def takes_excess(self, is_excess: bool) -> bool:
        return True

    @property
    def is_costly(self) -> bool:
        return True

    @property
    def work(self) -> int:
        return 30

    def maps(self, variance: Array | None, step: Step) -> Any:
        assert variance is not None
        return self.activation.point(variance)

    def pair(
        self, pairs: tuple[Pairs, ...], masks: Any, first: Any, second: Any, step: Step
    ) -> Pairs:
        (given,) = pairs
        acute = step.signal.is_nonnegative
        dual = _expectations(self.activation, first, second, given.moment, acute)
        ntk = given.ntk
        if step.given_excess:
            ntk = added(ntk, dual.covariance)
        return Pairs(dual.distance, None if ntk is None else ntk * dual.slope)


@operation
class Normalize(RowOperation):
    """Divide by the standard deviation over channels (and positions): LayerNorm.

        With s = 1 / sqrt(eps + mean of v over the normalised positions),

            K <- s1 s2 K,   D <- (s1 r1 - s2 r2)^2 + s1 s2 (D - (r1 - r2)^2),   Theta <- s1 s2 Theta

    and r the square roots of the variances.
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

    def maps(self, variance: Array | None, step: Step) -> tuple[Array, Array]:
        assert variance is not None
        return self._scale(variance, step), safe_sqrt(variance)

    def pair(
        self, pairs: tuple[Pairs, ...], masks: Any, first: Any, second: Any, step: Step
    ) -> Pairs:
        (given,) = pairs
        (s1, r1), (s2, r2) = first, second
        # Zero, exactly, where either variance is, however large its s.
        across = jnp.clip(given.moment - jnp.square(r1 - r2), 0.0, 4 * r1 * r2)
        distance = jnp.square(s1 * r1 - s2 * r2) + s1 * s2 * across
        return Pairs(distance, None if given.ntk is None else s1 * s2 * given.ntk)
