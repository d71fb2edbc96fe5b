"""Nonlinearities: the one place where dual activations meet layouts and scales.

A dual activation is two pointwise functions (see `ntkjax._activations`): what it needs of a single
point, made once for each image and position, and what it makes of a pair,

    D <- E (f(u) - f(v))^2,    Theta <- Theta * E f'(u) f'(v).

A positively homogeneous f commutes with the scales of images. Any other acts on u = s g itself, and
its outputs get new scales s':

    D_u = `rescaled` by s1, s2,    D' = E (f(u) - f(v))^2 `rescaled` by 1 / s1', 1 / s2'.

That loses digits where f(u) and f(v) differ much in size; there, K' = E f(u) f(v) / (s1' s2') is
made of K, and D' = v1' + v2' - 2 K'. Points so large that f is its limit at infinity, of degree k,
are replaced by smaller ones: f(u) = (1 / a)^k f(a u).
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.algebra.form import Form
from ntkjax._kernel.algebra.image import Ahead, Image, new_scale
from ntkjax._kernel.algebra.operation import (
    Context,
    LayerError,
    RowOperation,
    Seen,
    Step,
    operation,
)
from ntkjax._kernel.algebra.pairs import Pairs, added, covariance, rescaled
from ntkjax._kernel.algebra.roots import safe_sqrt
from ntkjax._kernel.algebra.signal import Signal

#: Points whose sizes after f differ by a larger factor lose digits as distances.
_FAR = 8.0


class Activation(Protocol):
    """The dual of a scalar function f, pointwise; knows nothing of layouts or batches.

    Attributes:
      is_nonnegative: whether f is, so that its outputs have no negative covariance.
      is_homogeneous: whether f(a x) = a f(x) for all a > 0.
      growth: the degree k of f at infinity: f(a x) is about a^k f(x) for large x.
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

        `supplement` is E (u + v)^2, where it is known; `acute` says that no covariance is negative.
        """
        ...


class ScaledActivation(Activation, Protocol):
    """The dual of a function that is not positively homogeneous."""

    def cap(self, dtype: Any) -> Any:
        """A standard deviation so large that f is its limit at infinity to a rounding error."""
        ...

    def far(
        self, first: Any, second: Any, covariance: Array, *, rest: Array | None = None
    ) -> "FarPair":
        """The expectations over a pair that may differ much in size.

        `covariance` is K = E u v, and `rest` is r1 r2 - |K| of the standard deviations.
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
    activation: Any, first: Any, second: Any, distance: Array, supplement: Any, acute: bool
) -> DualPair:
    """`activation.pair`, traced once for all layers that are alike."""
    return activation.pair(first, second, distance, supplement=supplement, acute=acute)


class _Scaled(NamedTuple):
    """What pairs need of a point of an activation that is not homogeneous."""

    point: Any  # of the activation
    var: Array  # v of g, before
    std: Array  # its root
    before: tuple[Array, Array]  # a, from g to u, and a v
    after: tuple[Array, Array]  # the factor a' from f(u) to its new scale, and a' E f(u)^2
    new_var: Array  # of the output, in its new scale
    turn: Array  # a a', for the tangent kernel
    sizes: tuple[Array, Array]  # of the inputs and outputs of an image, `[1 ..., *lanes]`


@operation
class Dual(RowOperation):
    """Apply a nonlinearity."""

    activation: Activation

    gives_distance = True

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

    def takes_distance(self, is_distance: bool) -> bool:
        return True

    def accepts(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> tuple[Form, ...]:
        return tuple(dataclasses.replace(form, is_distance=True) for form in given)

    def form(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> Form:
        return Form(True, ntk and (given[0].has_tangent or given[0].is_excess))

    def renews_scale(self, scales: tuple[int, ...]) -> bool:
        return not self.activation.is_homogeneous

    takes_supplement = True

    def needs_supplement(self, pairs: tuple[Pairs, ...], seen: Seen) -> Array:
        first, second, distance = seen.first, seen.second, pairs[0].moment
        if not self.activation.is_homogeneous:
            distance = rescaled(distance, first.before, second.before)
            first, second = first.point, second.point
        return jnp.any(self.activation.wants_supplement(first, second, distance))

    @property
    def is_costly(self) -> bool:
        return True

    @property
    def work(self) -> int:
        return 30

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, Any]:
        (image,) = images
        var = image.required_variance()
        if self.activation.is_homogeneous:
            after = image.with_variance(self.activation.variance(var))
            return after, self.activation.point(var)
        return self._in_new_scale(image, context)

    def _in_new_scale(self, image: Image, context: Context) -> tuple[Image, _Scaled]:
        var, ndim = image.required_variance(), context.step.below.ndim
        std, lanes = safe_sqrt(var), (*(1,) * ndim, *image.scale.shape)
        scale = image.scale.reshape(lanes)
        # f(u) = (s / a)^k f(a g), with a = s but for points beyond the cap.
        constant = lax.stop_gradient(std)
        positive = constant > 0
        activation: Any = self.activation
        cap = activation.cap(std.dtype)
        most = jnp.where(positive, cap / jnp.where(positive, constant, 1.0), scale)
        factor = jnp.minimum(scale, most)
        beyond = (scale / factor) ** self.activation.growth
        after = self.activation.variance(jnp.square(factor * std))
        size = beyond * safe_sqrt(after)

        def over_positions(std: Array, ahead: Ahead) -> Array:
            inside = std[context.step.here.cross.crop]
            return new_scale(inside, ahead, tuple(range(ndim))).reshape(lanes)

        renewed = over_positions(size, context.ahead)
        out = beyond / renewed
        new_var = out * (out * after)
        maps = _Scaled(
            self.activation.point(jnp.square(factor * std)),
            var,
            std,
            (factor, factor * var),
            (out, out * after),
            new_var,
            factor * out,
            (over_positions(factor * std, Ahead()), over_positions(size, Ahead())),
        )
        return Image(renewed.reshape(image.scale.shape), new_var, image.data), maps

    def pair(
        self, pairs: tuple[Pairs, ...], seen: Seen, step: Step, supplement: Array | None = None
    ) -> Pairs:
        (given,), form = pairs, step.given
        if not self.activation.is_homogeneous:
            return self._scaled_pair(given, seen.first, seen.second, supplement, step)
        acute = step.signal.is_nonnegative
        dual = _expectations(
            self.activation, seen.first, seen.second, given.moment, supplement, acute
        )
        ntk = added(given.ntk, dual.covariance) if form.is_excess else given.ntk
        return Pairs(dual.distance, None if ntk is None else ntk * dual.slope)

    def _scaled_pair(
        self,
        given: Pairs,
        first: _Scaled,
        second: _Scaled,
        supplement: Array | None,
        step: Step,
    ) -> Pairs:
        """The pairs of an activation that changes the scales of images."""
        acute, is_excess = step.signal.is_nonnegative, step.given.is_excess
        # Of any two images of the block, without asking each pair.
        apart = [
            jnp.maximum(jnp.max(a), jnp.max(b)) / jnp.minimum(jnp.min(a), jnp.min(b))
            for a, b in zip(first.sizes, second.sizes, strict=True)
        ]
        is_far = jnp.maximum(*apart) > _FAR

        def branch(fn: Callable[..., Pairs]) -> Callable[[Any], Pairs]:
            return lambda operands: fn(acute, is_excess, *operands)

        operands = self.activation, given, first, second, supplement
        return lax.cond(is_far, branch(_far_pair), branch(_near_pair), operands)


def _near_pair(
    acute: bool,
    is_excess: bool,
    activation: Any,
    given: Pairs,
    first: _Scaled,
    second: _Scaled,
    supplement: Array | None,
) -> Pairs:
    """The pairs of images of not too different sizes."""
    distance = jnp.maximum(rescaled(given.moment, first.before, second.before), 0.0)
    if supplement is not None:
        supplement = jnp.maximum(rescaled(supplement, first.before, second.before), 0.0)
    dual = _expectations(activation, first.point, second.point, distance, supplement, acute)
    distance = rescaled(dual.distance, first.after, second.after)
    return _in_new_scale(is_excess, distance, dual.slope, given, first, second)


def _far_pair(
    acute: bool,
    is_excess: bool,
    activation: Any,
    given: Pairs,
    first: _Scaled,
    second: _Scaled,
    supplement: Array | None,
) -> Pairs:
    """The pairs of images of any sizes, by K and r1 r2 - |K| of u and v."""
    product, across = first.std * second.std, jnp.square(first.std - second.std)
    rest = jnp.clip(0.5 * (given.moment - across), 0.0, 2 * product)
    other = 2 * product - rest  # that of the opposite pair
    if supplement is not None:
        other = jnp.where(rest > product, jnp.maximum(0.5 * (supplement - across), 0.0), other)
    # One factor after the other, of numbers that do not overflow.
    scaled = lambda x: second.before[0] * (first.before[0] * x)  # noqa: E731
    dual = activation.far(
        first.point, second.point, scaled(product - rest), rest=scaled(jnp.minimum(rest, other))
    )
    across = first.after[0] * second.after[0] * dual.covariance
    unlike = jnp.maximum(first.new_var + second.new_var - 2 * across, 0.0)
    alike = rescaled(dual.distance, first.after, second.after)
    distance = jnp.where(_ratio(first.sizes[1], second.sizes[1]) > _FAR, unlike, alike)
    return _in_new_scale(is_excess, distance, dual.slope, given, first, second)


def _in_new_scale(
    is_excess: bool, distance: Array, slope: Array, given: Pairs, first: _Scaled, second: _Scaled
) -> Pairs:
    """Pairs of a distance in the new scales, and of the slope in the units of f."""
    ntk = given.ntk
    if is_excess:
        ntk = added(ntk, covariance(first.var, second.var, given.moment))
    if ntk is not None:
        ntk = ntk * (first.turn * second.turn * slope)
    return Pairs(jnp.maximum(distance, 0.0), ntk)


def _ratio(a: Array, b: Array) -> Array:
    return jnp.maximum(a, b) / jnp.minimum(a, b)
