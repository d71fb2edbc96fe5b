"""Recurrent layers: the same weights at every time, so that kernels are a scan along a diagonal.

With h_t = f(a_t), a_t = W x_t + U h_{t-1} + b and h_0 of variance h0^2, and K, H the kernels of x
and h (Yang 2019, arXiv 1910.12478; Alemohammad et al. 2020, arXiv 2006.10246),

    A[t, t'] = W^2 K[t, t'] + U^2 H[t-1, t'-1] + b^2,    H[t, t'] = E f(u) f(v),
    Theta_A = W^2 Theta_K + U^2 Theta_H + A,             Theta_H[t, t'] = Theta_A E f'(u) f'(v),

with u, v of variances A[t, t], A[t', t'] and covariance A[t, t']: each pair of times needs the pair
before, on the same diagonal. Before the first step of both, H = Theta_H = h0^2, since h_0 is shared
and trained; h_0 and a later state are independent. Three times, the diagonal t' = t + 1 (cyclic):

    (0, 1) of h_0 and h_1: starts anew;    (1, 2) of (0, 1);    (2, 0): starts anew.
"""

import dataclasses
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.algebra.boundary import materialized
from ntkjax._kernel.algebra.diagonals import Diagonals, Rows, Shift, rings
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
from ntkjax._kernel.algebra.pairs import Pairs, added, covariance, rescaled
from ntkjax._kernel.algebra.sides import Row
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.operations.pointwise import Activation, ScaledActivation

Scalar = float | Array


class _Times(NamedTuple):
    """What pairs need of an image at every time, in one direction."""

    point: Any  # of the activation
    var: Array  # of a
    before: Array  # of the state before


class _Maps(NamedTuple):
    """What pairs need of an image."""

    given: tuple[Array, Array]  # the factor from g to x in the scale of the layer, and that times v
    inverse: Array  # 1 / s
    times: tuple[_Times, ...]  # for each direction


class _Starts(NamedTuple):
    """Where the states of a pair start anew in one direction, `[time, *lanes]`."""

    either: Array
    both: Array


@operation
class Recurrence(RowOperation):
    """The states of a recurrent layer, at all times or after the last one.

    Of several directions, with weights of their own, the states are channels side by side.
    """

    activation: Activation
    weight_var: Scalar
    state_var: Scalar
    bias_var: Scalar
    start_var: Scalar
    channels: int = static()
    is_sequence: bool = static()
    #: For each direction, whether it goes from the last time to the first.
    reverse: tuple[bool, ...] = static()

    gives_distance = True

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        if len(signal.sizes) != 1:
            raise LayerError(
                f"its input of shape {signal.shape1} has {len(signal.sizes)} spatial axes, but one "
                "is time; give it an input of shape (batch, time, channels)."
            )
        out = signal.with_channels(self.channels)
        if not self.is_sequence:
            out = signal.without_positions(self.channels, int(signal.batch_axis > 0))
        return dataclasses.replace(
            out, is_gaussian=False, sources=frozenset({source}),
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

    def mask(self, masks: tuple[Array, ...], signal: Signal) -> Array:
        raise LayerError(
            "takes sequences of one length, and no masks; leave mask_constant out, and group "
            "sequences by their lengths."
        )

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
        return 40 * len(self.reverse)

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
        times, states = [], []
        for reverse in self.reverse:
            made, state = self._variances(factor * given, inverse, reverse, step.below)
            times.append(made)
            states.append(state)
        mean = sum(states[1:], states[0]) / len(states)
        return Image(last, mean, image.data), _Maps((factor, given), inverse, tuple(times))

    def _variances(
        self, var: Array, inverse: Array, reverse: bool, grid: Diagonals
    ) -> tuple[_Times, Array]:
        """Variances at all times `[time, image]`, and those of the output."""
        bias = self.bias_var * jnp.square(inverse[0])
        start = jnp.asarray(self.start_var, var.dtype) * jnp.square(inverse[0])
        first = grid.sizes[0] - 1 if reverse else 0

        def body(state: Array, at: tuple[Array, Array]) -> tuple[Array, Any]:
            given, is_first = at
            before = jnp.where(is_first, start, state)
            after = self.weight_var * given + self.state_var * before + bias
            state = self.activation.variance(after)
            return state, (after, before, state)

        is_first = jnp.arange(grid.periods[0]) == first
        _, (after, before, states) = lax.scan(body, start, (var, is_first), reverse=reverse)
        out = states if self.is_sequence else states[self._last(reverse, grid)]
        return _Times(self.activation.point(after), after, before), out

    def _last(self, reverse: bool, grid: Diagonals) -> int:
        return 0 if reverse else grid.sizes[0] - 1

    def masks(self, here: Row, below: Row | None, step: Step) -> tuple[_Starts, ...]:
        assert below is not None
        (size,), (period,), (shift,) = below.grid.sizes, below.grid.periods, below.shift

        def starts(shift: Any) -> tuple[_Starts, ...]:
            p = jnp.arange(period)
            q = rings(p, (shift,), (period,))
            made = []
            for reverse in self.reverse:
                first = size - 1 if reverse else 0
                one, two = p == first, q == first
                made.append(_Starts(one | two, one & two))
            return tuple(made)

        if isinstance(shift, int):
            return starts(shift)
        return materialized(jax.vmap(starts, out_axes=-1) if below.several else starts, shift)

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        (given,), first, second = pairs, seen.first, seen.second
        moment = rescaled(given.moment, first.given, second.given)
        factors = first.given[0] * second.given[0]
        ntk = None if given.ntk is None else factors * given.ntk
        made = []
        for k, reverse in enumerate(self.reverse):
            one, two = (_Side(side.times[k], side.inverse[0]) for side in (first, second))
            made.append(self._scanned(Pairs(moment, ntk), seen.masks[k], one, two, reverse, step))
        total = made[0] if len(made) == 1 else jax.tree.map(lambda a, b: 0.5 * (a + b), *made)
        return total if step.here.form.has_tangent else Pairs(total.moment)

    def _scanned(
        self, given: Pairs, starts: _Starts, first: "_Side", second: "_Side", reverse: bool,
        step: Step,
    ) -> Pairs:  # fmt: skip
        """The pairs of states in one direction."""
        bias = self.bias_var * jnp.square(first.inverse - second.inverse)
        shared = jnp.asarray(self.start_var, given.moment.dtype) * (first.inverse * second.inverse)
        alike = self.start_var * jnp.square(first.inverse - second.inverse)
        with_tangent = step.here.form.has_tangent

        def body(state: Pairs, at: Any) -> tuple[Pairs, Pairs]:
            given, starts, one, two = at
            either, both = (on_positions(mask, given.moment.ndim) for mask in starts)
            anew = jnp.where(both, alike, one.before + two.before)
            before = jnp.where(either, anew, state.moment)
            after = self.weight_var * given.moment + self.state_var * before + bias
            after = jnp.maximum(after, 0.0)
            dual = self.activation.pair(one.point, two.point, after)
            if not with_tangent:
                return (made := Pairs(dual.distance)), made
            assert state.ntk is not None
            ntk = jnp.where(either, jnp.where(both, shared, 0.0), state.ntk)
            ntk = self.state_var * ntk + covariance(one.var, two.var, after)
            if given.ntk is not None:
                ntk = added(ntk, self.weight_var * given.ntk)
            return (made := Pairs(dual.distance, ntk * dual.slope)), made

        zeros = jnp.zeros_like(given.moment[0])
        start = Pairs(zeros, zeros if with_tangent else None)
        over = given, starts, first.times, second.times
        _, states = lax.scan(jax.checkpoint(body), start, over, reverse=reverse)
        if self.is_sequence:
            return states
        return states.map(lambda a: a[self._last(reverse, step.below)])


class _Side(NamedTuple):
    """One side of the pairs: what it has at every time, and 1 / s."""

    times: _Times
    inverse: Array
