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
_FAR = 2.0


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

    def far(self, first: Any, second: Any, covariance: Array) -> "FarPair":
        """The expectations over a pair of very different sizes, of its covariance E u v."""
        ...


class DualPair(NamedTuple):
    """What a nonlinearity f makes of a pair (u, v) of Gaussians."""

    distance: Array  # E (f(u) - f(v))^2
    slope: Array  # E f'(u) f'(v)
    covariance: Array  # E u v, of the pair itself


class FarPair(NamedTuple):
    """What a nonlinearity f makes of a pair (u, v) of Gaussians of very different sizes."""

    covariance: Array  # E f(u) f(v)
    slope: Array  # E f'(u) f'(v)


@functools.partial(jax.jit, static_argnames="acute")
def _expectations(
    activation: Any, first: Any, second: Any, distance: Array, supplement: Any, acute: bool
) -> DualPair:
    """`activation.pair`, traced once for all layers that are alike."""
    return activation.pair(first, second, distance, supplement=supplement, acute=acute)


class _Far(NamedTuple):
    """What pairs need of a point of an activation that is not homogeneous."""

    point: Any  # of the activation
    given: Array  # the variance v before
    before: tuple[Array, Array]  # a, from g to u, and a v
    after: tuple[Array, Array]  # the factor a' from f(u) to its new scale, and a' E f(u)^2
    var: Array  # of the output, in its new scale
    size: Array  # of the outputs of an image, `[1 ..., *lanes]`


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

    @property
    def takes_supplement(self) -> bool:
        return self.activation.is_homogeneous

    def needs_supplement(self, pairs: tuple[Pairs, ...], seen: Seen) -> Array:
        apart = self.activation.wants_supplement(seen.first, seen.second, pairs[0].moment)
        return jnp.any(apart)

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

    def _in_new_scale(self, image: Image, context: Context) -> tuple[Image, _Far]:
        std, ndim = safe_sqrt(image.required_variance()), context.step.below.ndim
        scale = image.scale.reshape(*(1,) * ndim, *image.scale.shape)
        # f(u) = (s / a)^k f(a g), with a = s but for points beyond the cap.
        cap = self.activation.cap(std.dtype)
        constant = lax.stop_gradient(std)
        positive = constant > 0
        factor = jnp.where(positive, cap / jnp.where(positive, constant, 1.0), scale)
        factor = jnp.minimum(scale, factor)
        beyond = (scale / factor) ** self.activation.growth
        var = jnp.square(factor * std)
        after = self.activation.variance(var)
        size = beyond * safe_sqrt(after)
        axes = tuple(range(ndim))
        renewed = new_scale(size[context.step.here.cross.crop], context.ahead, axes)
        out = beyond / renewed.reshape(scale.shape)
        sizes = new_scale(size[context.step.here.cross.crop], Ahead(), axes).reshape(scale.shape)
        products = out * after
        renewed_image = Image(renewed, out * products, image.data)
        maps = _Far(
            self.activation.point(var),
            image.required_variance(),
            (factor, factor * image.required_variance()),
            (out, products),
            out * products,
            sizes,
        )
        return renewed_image, maps

    def pair(
        self, pairs: tuple[Pairs, ...], seen: Seen, step: Step, supplement: Array | None = None
    ) -> Pairs:
        (given,), form = pairs, step.given
        if not self.activation.is_homogeneous:
            return self._far_pair(given, seen.first, seen.second, step)
        acute = step.signal.is_nonnegative
        dual = _expectations(
            self.activation, seen.first, seen.second, given.moment, supplement, acute
        )
        ntk = added(given.ntk, dual.covariance) if form.is_excess else given.ntk
        return Pairs(dual.distance, None if ntk is None else ntk * dual.slope)

    def _far_pair(self, given: Pairs, first: _Far, second: _Far, step: Step) -> Pairs:
        """The pairs of an activation that changes the scales of images."""
        acute = step.signal.is_nonnegative

        def near(moment: Array) -> tuple[Array, Array]:
            distance = jnp.maximum(rescaled(moment, first.before, second.before), 0.0)
            dual = _expectations(self.activation, first.point, second.point, distance, None, acute)
            return rescaled(dual.distance, first.after, second.after), dual.slope

        def far(moment: Array) -> tuple[Array, Array]:
            (a1, w1), (a2, w2) = first.before, second.before
            # a1 a2 (v1 + v2 - D) / 2, of numbers that do not overflow.
            cov = 0.5 * (a2 * w1 + a1 * w2 - a1 * a2 * moment)
            dual = self.activation.far(first.point, second.point, cov)
            out = first.after[0] * second.after[0] * dual.covariance
            return first.var + second.var - 2 * out, dual.slope

        def chosen(moment: Array) -> tuple[Array, Array]:
            large = jnp.maximum(first.size, second.size)
            is_far = large > _FAR * jnp.minimum(first.size, second.size)
            (d1, s1), (d2, s2) = far(moment), near(moment)
            return jnp.where(is_far, d1, d2), jnp.where(is_far, s1, s2)

        # Of any two images of the block, without asking each pair.
        apart = jnp.maximum(
            jnp.max(first.size) / jnp.min(second.size), jnp.max(second.size) / jnp.min(first.size)
        )
        distance, slope = lax.cond(apart > _FAR, chosen, near, given.moment)
        distance, ntk = jnp.maximum(distance, 0.0), given.ntk
        if step.given.is_excess:
            ntk = added(ntk, covariance(first.given, second.given, given.moment))
        if ntk is None:
            return Pairs(distance)
        turn = first.before[0] * first.after[0] * (second.before[0] * second.after[0])
        return Pairs(distance, ntk * (turn * slope))
