"""Recurrent layers: the same weights at every time, so that kernels are a scan along a diagonal.

With h_t = f(a_t), a_t = W x_t + U h_{t-1} + b and h_0 of variance h0^2, and K, H the kernels of x
and h (Yang 2019, arXiv 1910.12478; Alemohammad et al. 2020, arXiv 2006.10246),

    A[t, t'] = W^2 K[t, t'] + U^2 H[t-1, t'-1] + b^2,    H[t, t'] = E f(u) f(v),
    Theta_A = W^2 Theta_K + U^2 Theta_H + A,             Theta_H[t, t'] = Theta_A E f'(u) f'(v),

with u, v of variances A[t, t], A[t', t'] and covariance A[t, t']: each pair of times needs the pair
before, on the same diagonal. Before the first step of both, H = Theta_H = h0^2, since h_0 is shared
and trained; h_0 and a later state are independent. Three times, the diagonal t' = t + 1 (cyclic):

    (0, 1) of h_0 and h_1: starts anew;    (1, 2) of (0, 1);    (2, 0): starts anew.

A masked time leaves the state as it is, so that it may as well not be there. Sequences with masked
times are first made ones whose last times (of a way back, the first) are all there is (`Align`):
each then starts at a time of its own, and all end at the same one.
"""

import dataclasses
from typing import Any, NamedTuple, cast

import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.algebra.boundary import recomputed
from ntkjax._kernel.algebra.diagonals import Diagonals, Rows, Shift
from ntkjax._kernel.algebra.form import Form
from ntkjax._kernel.algebra.image import Image
from ntkjax._kernel.algebra.operation import (
    Context,
    Operation,
    RowOperation,
    Seen,
    Step,
    operation,
    static,
    taken,
)
from ntkjax._kernel.algebra.pairs import Pairs, added, covariance, rescaled
from ntkjax._kernel.algebra.roots import positive_part
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.operations.activation import Activation, ScaledActivation
from ntkjax._kernel.operations.align import Align, check_sequence

Scalar = float | Array


class _Times(NamedTuple):
    """What pairs need of an image at every time."""

    point: Any  # of the activation
    var: Array  # of a
    before: Array  # of the state before
    is_first: Array  # 1 at the first time, else 0


class _Maps(NamedTuple):
    """What pairs need of an image."""

    given: tuple[Array, Array]  # the factor from g to x in the scale of the layer, and that times v
    inverse: Array  # 1 / s
    times: _Times


@operation
class Recurrence(RowOperation):
    """The states of a recurrent layer in one direction, at all times or after the last one."""

    activation: Activation
    weight_var: Scalar
    state_var: Scalar
    bias_var: Scalar
    start_var: Scalar
    channels: int = static()
    is_sequence: bool = static()
    #: Whether it goes from the last time to the first.
    reverse: bool = static()
    #: Whether masked times come before all others (of a way back, after them).
    is_aligned: bool = static(default=False)

    gives_distance = True

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        check_sequence(signal)
        out = signal.with_channels(self.channels)
        if not self.is_sequence:
            out = signal.without_positions(self.channels, int(signal.batch_axis > 0))
        return dataclasses.replace(
            out, is_gaussian=False, is_alike=True, reason="", sources=frozenset({source}),
            is_nonnegative=self.activation.is_nonnegative,
        )  # fmt: skip

    def takes_distance(self, is_distance: bool) -> bool:
        return True

    def accepts(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> tuple[Form, ...]:
        return (taken(given[0], True, False, ntk),)

    def form(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> Form:
        return Form(True, ntk)

    def renews_scale(self, scales: tuple[int, ...]) -> bool:
        return not self.activation.is_homogeneous

    def affine_variances(self) -> tuple[Any, Any]:
        return self.weight_var, jnp.maximum(self.bias_var, self.start_var)

    def where_masked(self) -> tuple[Operation, ...]:
        """Times that are not masked go to one end, and states back to where these were."""
        align = Align(to_end=not self.reverse)
        states = dataclasses.replace(self, is_aligned=True)
        if not self.is_sequence:
            return align, states
        return align, states, dataclasses.replace(align, is_back=True)

    # Which diagonals: of equal times alone, where the last states are all that is asked for.

    @property
    def keeps_periods(self) -> bool:
        return self.is_sequence

    @property
    def keeps_rows(self) -> bool:
        return self.is_sequence

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        return wanted.rows if self.is_sequence else given.zero().rows

    def source(self, shift: Shift, below: Diagonals) -> Shift:
        return shift if self.is_sequence else (0,) * below.ndim

    @property
    def is_costly(self) -> bool:
        return True

    @property
    def work(self) -> int:
        return 40

    # The arithmetic.

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, _Maps]:
        (image,), step = images, context.step
        var = image.required_variance()
        scale = image.scale
        if self.activation.is_homogeneous:
            # Clipped, so that no product of two overflows (see `Affine`).
            inverse = 1 / jnp.maximum(scale, jnp.finfo(scale.dtype).tiny ** 0.5)
            factor, last = jnp.ones_like(scale), scale
        else:
            # The function itself is applied, in the units of f, as far as squares do not overflow.
            # Beyond, it grows as a power k, and biases are nothing: h is s^k times that of x / s.
            inverse = jnp.ones_like(scale)
            factor = jnp.minimum(scale, jnp.finfo(scale.dtype).max ** 0.2)
            growth = cast(ScaledActivation, self.activation).growth
            last = lax.stop_gradient(scale / factor) ** growth
        factor, inverse = factor[None], inverse[None]
        given = factor * var
        times, state = self._variances(factor * given, inverse, self._first_time(image, step), step)
        return Image(last, state, image.data), _Maps((factor, given), inverse, times)

    def _first_time(self, image: Image, step: Step) -> Array:
        """1 at the first time of every image, else 0: `[time, image]`."""
        (size,), (period,) = step.below.sizes, step.below.periods
        masked = jnp.zeros(image.scale.shape, int)
        if self.is_aligned and image.mask is not None:
            masked = jnp.sum(image.mask, 0)
        first = size - 1 - masked if self.reverse else masked
        is_first = jnp.arange(period)[:, None] == first[None]
        return is_first.astype(image.scale.dtype)

    def _variances(
        self, var: Array, inverse: Array, is_first: Array, step: Step
    ) -> tuple[_Times, Array]:
        """Variances at all times `[time, image]`, and those of the output."""
        bias = self.bias_var * jnp.square(inverse[0])
        start = jnp.asarray(self.start_var, var.dtype) * jnp.square(inverse[0])

        def body(state: Array, at: tuple[Array, Array]) -> tuple[Array, Any]:
            given, is_first = at
            before = jnp.where(is_first > 0, start, state)
            after = self.weight_var * given + self.state_var * before + bias
            state = self.activation.variance(after)
            return state, (after, before, state)

        _, (after, before, states) = lax.scan(body, start, (var, is_first), reverse=self.reverse)
        out = states if self.is_sequence else states[self._last(step.below)]
        return _Times(self.activation.point(after), after, before, is_first), out

    def _last(self, grid: Diagonals) -> int:
        return 0 if self.reverse else grid.sizes[0] - 1

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        """The states of pairs, one time after the other."""
        (given,), first, second = pairs, seen.first, seen.second
        moment = rescaled(given.moment, first.given, second.given)
        factors = first.given[0] * second.given[0]
        given = Pairs(moment, None if given.ntk is None else factors * given.ntk)
        inverse1, inverse2 = first.inverse[0], second.inverse[0]
        bias = self.bias_var * jnp.square(inverse1 - inverse2)
        shared = jnp.asarray(self.start_var, moment.dtype) * (inverse1 * inverse2)
        alike = self.start_var * jnp.square(inverse1 - inverse2)
        with_tangent = step.here.form.has_tangent

        def body(state: Pairs, at: Any) -> tuple[Pairs, Pairs]:
            given, one, two = at
            either, both = one.is_first + two.is_first > 0, one.is_first * two.is_first > 0
            anew = jnp.where(both, alike, one.before + two.before)
            before = jnp.where(either, anew, state.moment)
            after = self.weight_var * given.moment + self.state_var * before + bias
            after = positive_part(after)
            dual = self.activation.pair(one.point, two.point, after)
            if not with_tangent:
                return (made := Pairs(dual.distance)), made
            assert state.ntk is not None
            ntk = jnp.where(either, jnp.where(both, shared, 0.0), state.ntk)
            ntk = self.state_var * ntk + covariance(one.var, two.var, after)
            if given.ntk is not None:
                ntk = added(ntk, self.weight_var * given.ntk)
            return (made := Pairs(dual.distance, ntk * dual.slope)), made

        zeros = jnp.zeros_like(moment[0])
        start = Pairs(zeros, zeros if with_tangent else None)
        over = given, first.times, second.times
        _, states = lax.scan(recomputed(body), start, over, reverse=self.reverse)
        if self.is_sequence:
            return states
        return states.map(lambda a: a[self._last(step.below)])
