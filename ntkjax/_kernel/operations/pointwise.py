"""Nonlinearities: the one place where dual activations meet layouts and scales.

A dual activation is two pointwise functions (see `ntkjax._activations`): what it needs of a single
point, made once for each image and position, and what it makes of a pair,

    D <- E (f(u) - f(v))^2,    Theta <- Theta * E f'(u) f'(v).

A positively homogeneous f commutes with the scales of images. Any other acts on u = s g itself, and
where images have scales of their own, its outputs get new ones s':

    D_u = `rescaled` by s1, s2,    D' = E (f(u) - f(v))^2 `rescaled` by 1 / s1', 1 / s2'.

That loses digits where u and v, or f(u) and f(v), differ much in size; there, K' = E f(u) f(v) /
(s1' s2') is made of K, and D' = v1' + v2' - 2 K'. Points so large that f is its limit at infinity,
of degree k, are replaced by smaller ones: f(u) = (1 / a)^k f(a u). An f of degree k everywhere is
taken of g itself, f(u) = s^k f(g).
"""

import dataclasses
import functools
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.algebra.form import Form
from ntkjax._kernel.algebra.image import Ahead, Image, new_scale, on_positions
from ntkjax._kernel.algebra.operation import (
    Context,
    LayerError,
    RowOperation,
    Seen,
    Step,
    operation,
)
from ntkjax._kernel.algebra.pairs import Pairs, added, covariance, rescaled
from ntkjax._kernel.algebra.roots import positive_part, safe_sqrt
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.operations.activation import (
    Activation,
    DualPair,
    ScaledActivation,
    SupplementedActivation,
    transformed,
)

#: Points whose sizes differ by a larger factor, before f or after it, lose digits as distances; so
#: do those whose sizes differ by more than the root of it where f is steep.
_FAR = 4.0


@functools.partial(jax.jit, static_argnames="acute")
def _expectations(
    activation: Any, first: Any, second: Any, distance: Array, supplement: Any, acute: bool
) -> DualPair:
    """`activation.pair`, traced once for all layers that are alike."""
    return activation.pair(first, second, distance, supplement=supplement, acute=acute)


@functools.partial(jax.jit, static_argnames=("is_excess", "acute"))
def _pairs_after(
    activation: Any, first: Any, second: Any, given: Pairs, is_excess: bool, acute: bool
) -> Pairs:
    """`activation.transform`, traced once for all layers that are alike."""
    return activation.transform(first, second, given, is_excess=is_excess, acute=acute)


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
    works_unscaled = True

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        if not signal.is_gaussian:
            raise LayerError(
                f"{signal.not_gaussian}, and the kernel of a nonlinearity is known for Gaussian "
                "inputs only; insert a Dense or Conv before it."
            )
        return dataclasses.replace(
            signal, is_gaussian=False, is_nonnegative=self.activation.is_nonnegative, reason=""
        )

    def takes_distance(self, is_distance: bool) -> bool:
        return True

    def form(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> Form:
        return Form(True, ntk and (given[0].has_tangent or given[0].is_excess))

    def renews_scale(self, scales: tuple[int, ...]) -> bool:
        return not self.activation.is_homogeneous

    def _changes_scale(self, step: Step) -> bool:
        return not (self.activation.is_homogeneous or step.is_unscaled)

    def fits_unscaled(self, maps: Any) -> Array | bool:
        """Whether no point is beyond the cap, and none of the others is far from it."""
        if self.activation.is_homogeneous:
            return True
        cap, sizes = self._scaled_activation.cap(maps.std.dtype), maps.sizes[0]
        is_far = self._is_steep(jnp.min(sizes), jnp.max(sizes))
        if cap is None:
            return ~is_far
        return jnp.all(maps.before[0] * maps.std < 0.9 * cap) & ~is_far

    def _is_steep(self, least: Array, most: Array) -> Array:
        """Whether f is steep where images have standard deviations between these."""
        if getattr(self.activation, "is_uniform", False):
            return jnp.asarray(False)
        return self._scaled_activation.steepness * jnp.square(most - least) > _FAR

    @property
    def takes_supplement(self) -> bool:
        """Whether E (u + v)^2 is of use to the activation."""
        return getattr(self.activation, "takes_supplement", True)

    @property
    def unmasks(self) -> bool:
        """Whether f(0) may be other than zero."""
        return not self.activation.is_homogeneous

    def needs_supplement(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Array:
        first, second, distance = seen.first, seen.second, pairs[0].moment
        if self._changes_scale(step):
            distance = rescaled(distance, first.before, second.before)
            first, second = first.point, second.point
        activation = cast(SupplementedActivation, self.activation)
        return jnp.any(activation.wants_supplement(first, second, distance))

    @property
    def is_costly(self) -> bool:
        return True

    @property
    def work(self) -> int:
        return 30

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, Any]:
        (image,) = images
        var = image.required_variance()
        if not self._changes_scale(context.step):
            after = image.with_variance(self.activation.variance(var))
            return after, self.activation.point(var)
        return self._of_scaled_image(image, context)

    @property
    def _scaled_activation(self) -> ScaledActivation:
        """The activation, which is known not to be homogeneous."""
        return cast(ScaledActivation, self.activation)

    def _of_scaled_image(self, image: Image, context: Context) -> tuple[Image, _Scaled]:
        """Images after an activation that changes their scales."""
        var, ndim = image.required_variance(), context.step.below.ndim
        std, scale = safe_sqrt(var), on_positions(image.scale, var.ndim)
        # f(u) = (s / a)^k f(a g), with a = s but for points beyond the cap.
        factor = _within(self._scaled_activation.cap(std.dtype), std, scale)
        beyond = (scale / factor) ** self.activation.growth
        inside = jnp.square(factor * std)  # the variance of u
        after = self.activation.variance(inside)
        std_after = safe_sqrt(after)
        # A size beyond the dtype counts as near it, so that kernels are infinite and not NaN.
        largest = 0.5 * float(jnp.finfo(std.dtype).max)
        beyond = jnp.minimum(beyond, largest / jnp.maximum(lax.stop_gradient(std_after), 1.0))
        size = beyond * std_after

        def over_positions(std: Array, ahead: Ahead) -> Array:
            existing = std[context.step.here.cross.crop]
            return on_positions(new_scale(existing, ahead, tuple(range(ndim))), var.ndim)

        renewed = over_positions(size, context.ahead)
        out = beyond / renewed
        new_var = out * (out * after)
        maps = _Scaled(
            self.activation.point(inside),
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
        if self._changes_scale(step):
            return self._scaled_pair(given, seen.first, seen.second, supplement, step)
        acute = step.signal.is_nonnegative
        if supplement is None and hasattr(self.activation, "transform"):
            return _pairs_after(
                self.activation, seen.first, seen.second, given, form.is_excess, acute
            )
        dual = _expectations(
            self.activation, seen.first, seen.second, given.moment, supplement, acute
        )
        return transformed(dual, given, form.is_excess)

    def _scaled_pair(
        self,
        given: Pairs,
        first: _Scaled,
        second: _Scaled,
        supplement: Array | None,
        step: Step,
    ) -> Pairs:
        """The pairs of an activation that changes the scales of images."""
        # Of any two images of the block, without asking each pair.
        ranges = [
            (jnp.minimum(jnp.min(a), jnp.min(b)), jnp.maximum(jnp.max(a), jnp.max(b)))
            for a, b in zip(first.sizes, second.sizes, strict=True)
        ]
        (least, most), (least_after, most_after) = ranges
        is_far = jnp.maximum(most / least, most_after / least_after) > _FAR
        is_far |= self._is_steep(least, most)
        acute, moment = step.signal.is_nonnegative, given.moment

        def far() -> Pairs:
            made = self._far(moment, first, second, supplement)
            return _in_new_scale(*made, given, first, second, step)

        def near() -> Pairs:
            made = self._near(moment, first, second, supplement, acute)
            return _in_new_scale(*made, given, first, second, step)

        if getattr(self.activation, "is_uniform", False):
            return far()
        return lax.cond(is_far, far, near)

    def _near(
        self,
        moment: Array,
        first: _Scaled,
        second: _Scaled,
        supplement: Array | None,
        acute: bool,
    ) -> tuple[Array, Array]:
        """Distances in the new scales, and slopes, of images of not too different sizes."""
        distance = positive_part(rescaled(moment, first.before, second.before))
        if supplement is not None:
            supplement = positive_part(rescaled(supplement, first.before, second.before))
        points = first.point, second.point
        dual = _expectations(self.activation, *points, distance, supplement, acute)
        return rescaled(dual.distance, first.after, second.after), dual.slope

    def _far(
        self, moment: Array, first: _Scaled, second: _Scaled, supplement: Array | None
    ) -> tuple[Array, Array]:
        """The same of images of any sizes, by K and r1 r2 - |K| of u and v."""
        product, across = first.std * second.std, jnp.square(first.std - second.std)
        rest = positive_part(0.5 * (moment - across))
        rest = jnp.where(rest > 2 * product, 2 * product, rest)
        other = 2 * product - rest  # that of the opposite pair
        if supplement is not None:
            other = jnp.where(rest > product, positive_part(0.5 * (supplement - across)), other)
        # One factor after the other, of numbers that do not overflow.
        scaled = lambda x: second.before[0] * (first.before[0] * x)  # noqa: E731
        cov, least = scaled(product - rest), scaled(jnp.minimum(rest, other))
        dual = self._scaled_activation.far(first.point, second.point, cov, rest=least)
        assert dual.distance is not None
        cov = first.after[0] * second.after[0] * dual.covariance
        unlike = positive_part(first.new_var + second.new_var - 2 * cov)
        alike = rescaled(dual.distance, first.after, second.after)
        size1, size2 = first.sizes[1], second.sizes[1]
        is_unlike = jnp.maximum(size1, size2) / jnp.minimum(size1, size2) > _FAR
        return jnp.where(is_unlike, unlike, alike), dual.slope


def _in_new_scale(
    distance: Array, slope: Array, given: Pairs, first: _Scaled, second: _Scaled, step: Step
) -> Pairs:
    """Pairs of a distance in the new scales, and of the slope in the units of f."""
    ntk = given.ntk
    if step.given.is_excess:
        ntk = added(ntk, covariance(first.var, second.var, given.moment))
    if ntk is not None:
        ntk = ntk * (first.turn * second.turn * slope)
    return Pairs(positive_part(distance), ntk)


def _within(cap: Any, std: Array, scale: Array) -> Array:
    """The factor from g to u, at most the one that makes a point as large as the cap."""
    if cap is None:
        return jnp.ones_like(scale)
    constant = lax.stop_gradient(std)
    positive = constant > 0
    most = jnp.where(positive, cap / jnp.where(positive, constant, 1.0), scale)
    return jnp.minimum(scale, most)
