"""Affine map with random weights: Dense, and the weights and biases of every linear layer.

With weights of variance s_w^2 / fan_in and biases of variance s_b^2 (Lee et al. 2018, eq. 4-5):

    K <- s_w^2 K + s_b^2,    D <- s_w^2 D,    Theta <- s_w^2 Theta + a K_in + c.

The last two terms are the contribution of this layer's own parameters. In the NTK parameterization
a = s_w^2, c = s_b^2 (Jacot et al. 2018); in the standard one a is the width that feeds each output
and c = 1 where there is a bias (Sohl-Dickstein et al. 2020, arXiv 2001.07301, eq. 7). In the NTK
parameterization they are the new covariance K', so that the excess over it is just

    (Theta - K)' = s_w^2 Theta.

Images held as g = f / s have biases of standard deviation s_b / s. With i = 1 / s, K gains
s_b^2 i1 i2, and D gains s_b^2 (i1 - i2)^2, which vanishes for images of one scale.
"""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.form import Form
from ntkjax._kernel.algebra.image import Image, on_positions
from ntkjax._kernel.algebra.operation import (
    Context,
    LayerError,
    RowOperation,
    Seen,
    Step,
    operation,
    static,
    taken,
)
from ntkjax._kernel.algebra.pairs import Pairs, added, covariance
from ntkjax._kernel.algebra.signal import Signal

Scalar = float | Array

#: Least variance of the biases of the standard parameterization, for the choice of scales: their
#: contribution to the tangent kernel, 1 / (s1 s2), is in the range of float32.
_LEAST = 1e-30


class _Maps(NamedTuple):
    """What the pairs of an affine map need of an image."""

    inverse: Array | None  # 1 / s, where there are biases and scales
    var: Array | None  # of the input, where the covariance is to be made


@operation
class Affine(RowOperation):
    """Random weights of variance `weight_var` / fan_in, biases of variance `bias_var`.

    `width_scale` is None in the NTK parameterization; in the standard one, what to multiply the
    number of input channels by for the factor a above (filter size over width scaling s[0]). Each
    output reads the channels of one of `groups` alone.
    """

    weight_var: Scalar
    bias_var: Scalar | None
    channels: int = static()
    width_scale: float | None = static(default=None)
    groups: int = static(default=1)

    carries_supplement = True
    works_unscaled = True

    @property
    def unmasks(self) -> bool:
        """Whether there are biases."""
        return self.bias_var is not None

    @property
    def is_standard(self) -> bool:
        """Whether the parameterization is the standard one."""
        return self.width_scale is not None

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        if signal.channels % self.groups:
            raise LayerError(
                f"its {self.groups} groups do not divide the {signal.channels} channels of its "
                f"input of shape {signal.shape1}; give the layer before it a multiple of them."
            )
        # Groups of channels that differ are different, so that channels are no longer alike.
        alike = self.groups == 1 or signal.has_alike_channels
        return dataclasses.replace(
            signal.with_channels(self.channels),
            is_gaussian=alike,
            sources=frozenset({source}),
            is_alike=alike,
            reason="" if alike else "groups of channels that are not distributed alike",
        )

    def _read(self, signal: Signal) -> int:
        """How many channels of its input each output reads."""
        return signal.channels // self.groups

    def affine_variances(self) -> tuple[Scalar, Scalar]:
        if self.bias_var is None:
            return self.weight_var, 0.0
        return self.weight_var, jnp.maximum(self.bias_var, _LEAST if self.is_standard else 0.0)

    def accepts(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> tuple[Form, ...]:
        return (taken(given[0], is_distance, False, ntk),)

    def form(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> Form:
        is_excess = ntk and is_distance and not self.is_standard
        return Form(is_distance, given[0].has_tangent if is_excess else ntk, is_excess)

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, _Maps]:
        (image,) = images
        form, inverse = context.step.here.form, None
        if self.bias_var is not None and not context.step.is_unscaled:
            # Clipped, so that no product of two overflows. A scale is no smaller than the biases
            # that it meets, so biases for which that would matter are zero in this dtype.
            scale = jnp.maximum(image.scale, jnp.finfo(image.scale.dtype).tiny ** 0.5)
            inverse = on_positions(1 / scale, context.step.below.ndim + 1)
        whole = form.has_tangent and not form.is_excess
        var = image.variance if whole and form.is_distance else None
        if image.variance is not None:
            after = self.weight_var * image.variance
            if self.bias_var is not None:
                after = after + self.bias_var * (1.0 if inverse is None else jnp.square(inverse))
            image = image.with_variance(after)
        return image, _Maps(inverse, var)

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        (given,) = pairs
        first, second, form = seen.first, seen.second, step.here.form
        has_scales = self.bias_var is not None and not step.is_unscaled
        inverses = first.inverse * second.inverse if has_scales else 1.0
        ntk = None if given.ntk is None else self.weight_var * given.ntk
        if form.has_tangent and not form.is_excess:  # of an excess that is all: a K + c = K'
            cov = given.moment
            if form.is_distance:
                cov = covariance(first.var, second.var, cov)
            a = (
                self.weight_var
                if self.width_scale is None
                else (self.width_scale * self._read(step.signal))
            )
            ntk = added(ntk, a * cov)
            if self.bias_var is not None:
                c: Any = 1.0 if self.is_standard else self.bias_var
                ntk = ntk + c * inverses
        return Pairs(self._moment(given.moment, seen, step), ntk)

    def _moment(self, given: Array, seen: Seen, step: Step) -> Array:
        """The distance or covariance after the map."""
        moment, is_distance = self.weight_var * given, step.here.form.is_distance
        if self.bias_var is None:
            return moment
        if step.is_unscaled:
            # Biases cancel in a distance, and count twice in E (g + g')^2.
            times = (4 if step.is_supplement else 0) if is_distance else 1
            return moment + times * self.bias_var if times else moment
        first, second = seen.first.inverse, seen.second.inverse
        if not is_distance:
            return moment + self.bias_var * (first * second)
        other = -second if step.is_supplement else second
        return moment + self.bias_var * jnp.square(first - other)
