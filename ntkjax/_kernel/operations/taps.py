"""Tap sum: the part of a convolution that moves along the image.

    K'[P, Q] = mean over taps i of K[p_i, q_i],

the same tap on both sides, since the weights are shared (Arora et al. 2019, section 4). Axis by
axis, output diagonal D is made of the input diagonal stride * D alone. A point outside the image is
zero; where a tap leaves it on one side only, the squared distance is the other side's variance:

    D'[P, Q] = mean over taps of { D[p_i, q_i] both inside; v1[p_i], v2[q_i] one inside; 0 none }.
"""

import dataclasses
from collections.abc import Callable
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.diagonals import Diagonals, Rows, along, take_rows
from ntkjax._kernel.operation import Operation, Step, map_pairs, map_variances, operation, static
from ntkjax._kernel.signal import Signal
from ntkjax._kernel.state import Pairs, State, View
from ntkjax._kernel.window import Window, infer_windows, inside


@operation
class TapSum(Operation):
    """Mean over the taps of one window per spatial axis."""

    windows: tuple[Window, ...] = static()

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        return dataclasses.replace(infer_windows(self.windows, signal), is_gaussian=False)

    def period_ratio(self, signal: Signal, axis: int) -> tuple[Fraction, int | None]:
        return self.windows[axis].period_ratio(signal.sizes[axis])

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        return tuple(
            tuple(sorted(set(window.source_rows(np.array(rows), period).tolist())))
            for window, rows, period in zip(self.windows, wanted.rows, given.periods)
        )

    def apply(self, states: tuple[State, ...], step: Step) -> State:
        (state,) = states
        for axis, window in enumerate(self.windows):
            state = _along(state, _stage(step, axis), axis, window)
        return state


def _along(state: State, step: Step, axis: int, window: Window) -> State:
    """The tap sum along one axis."""
    size, period = step.given.sizes[axis], step.wanted.periods[axis]

    def mean(masks: np.ndarray, entries: Callable[[int], Array], *axes: int) -> Array:
        """Mean over taps of their entries where the mask, along `axes`, lets them through."""
        terms = []
        for tap, mask in enumerate(masks):
            if mask.any():
                term = entries(tap)
                mask = along(mask, term.ndim, *axes).astype(term.dtype)
                terms.append(term if mask.all() else term * mask)
        if not terms:
            # Taps so far apart that all of them fall outside a small image.
            return jnp.zeros_like(entries(0))
        return sum(terms[1:], terms[0]) / window.taps

    def variance(var: Array) -> Array:
        outputs = np.arange(period)
        live = np.stack([window.positions(tap, size, outputs)[1] for tap in range(window.taps)])
        return mean(live, lambda tap: window.slide(var, axis, tap, size, period), axis)

    def pairs(pairs: Pairs, before: View, after: View) -> Pairs:
        given, wanted = before.diagonals, after.diagonals
        axes = (axis, given.ndim + axis)
        first, second = inside(window, wanted, axis, size)
        sources = window.source_rows(np.array(wanted.rows[axis]), given.periods[axis])

        def both_inside(array: Array) -> Array:
            array = take_rows(array, axis, given.rows[axis], sources)
            slide = lambda tap: window.slide(array, axes[1], tap, size, period)  # noqa: E731
            return mean(first & second, slide, *axes)

        summed = pairs.map(both_inside)
        if summed.distance is None:
            return summed
        distance = summed.distance
        for see, var, mask in (
            (after.first, before.var1, first & ~second),
            (after.second, before.var2, second & ~first),
        ):
            if mask.any():
                slide = lambda tap: see(window.slide(var, axis, tap, size, period))  # noqa: B023, E731
                distance = distance + mean(mask, slide, *axes)
        return Pairs(distance=distance, ntk=summed.ntk)

    return map_pairs(state, step, map_variances(state, variance, step.symmetric), pairs)


def _stage(step: Step, axis: int) -> Step:
    """The part of a step that concerns one axis: those before it are done, those after are not."""

    def mixed(done: Diagonals | None, todo: Diagonals | None, count: int) -> Diagonals | None:
        if done is None or todo is None:
            return None
        parts = (
            getattr(done, name)[:count] + getattr(todo, name)[count:]
            for name in ("sizes", "periods", "rows")
        )
        return Diagonals(*parts)

    return dataclasses.replace(
        step,
        given=mixed(step.wanted, step.given, axis),
        wanted=mixed(step.wanted, step.given, axis + 1),
        given_self=mixed(step.wanted_self, step.given_self, axis),
        wanted_self=mixed(step.wanted_self, step.given_self, axis + 1),
    )
