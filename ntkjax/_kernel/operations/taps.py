"""Tap sum: the part of a convolution that moves along the image.

    K'[P, Q] = mean over taps i of K[p_i, q_i],

the same tap on both sides, since the weights are shared (Arora et al. 2019, section 4). Axis by
axis, output diagonal D is made of the input diagonal stride * D alone. A point outside the image is
zero; where a tap leaves it on one side only, the squared distance is the other side's variance:

    D'[P, Q] = mean over taps of { D[p_i, q_i] both inside; v1[p_i], v2[q_i] one inside; 0 none }.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntkjax._kernel.algebra.boundary import linear_stored, materialized
from ntkjax._kernel.algebra.diagonals import Diagonals, Rows, Shift, rings
from ntkjax._kernel.algebra.image import Image
from ntkjax._kernel.algebra.lanes import along_positions
from ntkjax._kernel.algebra.operation import Context, RowOperation, Seen, Step, operation, static
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.algebra.sides import FIRST, Row, Side, ringed
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.algebra.window import Window, infer_windows
from ntkjax._kernel.operations.windowed import Windowed

#: For each axis, by tap, which outputs it counts for: a mask along the axis (and the lanes), or
#: None for all. A tap that is not there counts for none.
Masks = Sequence[Mapping[int, Any]]
#: For each axis: its window, the size of the input, the period of the output.
Axes = tuple[tuple[Window, int, int], ...]


@operation
class TapSum(Windowed, RowOperation):
    """Mean over the taps of one window per spatial axis."""

    windows: tuple[Window, ...] = static()

    carries_supplement = True
    works_unscaled = True

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        return dataclasses.replace(infer_windows(self.windows, signal), is_gaussian=False)

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        return tuple(
            tuple(sorted({window.source_row(row, period) for row in rows}))
            for window, rows, period in zip(self.windows, wanted.rows, given.periods, strict=True)
        )

    @property
    def work(self) -> int:
        return 2 * self._count

    @property
    def keeps_rows(self) -> bool:
        return all(window.stride == 1 for window in self.windows)

    def source(self, shift: Shift, below: Diagonals) -> Shift:
        axes = zip(self.windows, shift, below.periods, strict=True)
        return tuple(window.source_row(d, period) for window, d, period in axes)

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, Array | None]:
        """The variance before, of which an image contributes where a tap leaves the other one."""
        (image,), step = images, context.step
        if image.variance is None:
            return image, None
        # Stored, or XLA would make it anew for every tap of the next window.
        after = materialized(lambda var: self._variance(var, step), image.variance)
        return image.with_variance(after), image.variance if self._can_leave(step.below) else None

    def _variance(self, var: Array, step: Step) -> Array:
        var = ringed(var, step.below.periods, self.halo(step.below, step.here.cross))
        inside = self._inside(step.below, step.here.cross)
        masks = [
            {i: None if own.all() else own.astype(np.float32) for i, own in enumerate(of_axis)}
            for of_axis in inside
        ]
        return self._mean(var, masks, step)

    def masks(self, here: Row, below: Row | None, step: Step) -> "TapMasks":
        """Where taps lie inside the image, on both sides and on either side alone."""
        assert below is not None
        inside = self._inside(below.grid, here.grid)
        together = all(isinstance(d, int) and d == 0 for d in here.shift)
        return TapMasks(
            [
                None if own.all() else _seen_together(own, d)
                for own, d in zip(inside, here.shift, strict=True)
            ],
            tuple(tuple(bool(tap.all()) for tap in of_axis) for of_axis in inside),
            self._can_leave(below.grid) and not together,
        )

    def _inside(self, below: Diagonals, here: Diagonals) -> list[np.ndarray]:
        """For each axis, whether a tap of an output lies inside the image: (tap, period)."""
        axes = zip(self.windows, below.sizes, here.periods, strict=True)
        return [np.array(window.inside(size, period)) for window, size, period in axes]

    def _can_leave(self, below: Diagonals) -> bool:
        pairs = zip(self.windows, below.sizes, strict=True)
        return any(window.can_leave(size) for window, size in pairs)

    def seen(self, maps: Array | None, masks: "TapMasks", side: Side, step: Step) -> Array | None:
        """The mean over taps of the variances where a tap is inside on this side alone.

        With w = 1 where a tap is inside here and w' where it is so on the other side, this is the
        sum of w_1 w_2 (1 - w'_1 w'_2) v, axis by axis: w (1 - w') of all that the next axes have,
        and w w' of what they have on this side alone.
        """
        if maps is None or not masks.leave:
            return None
        axes, own, alone = self._axes(step), masks.own(side), masks.alone(side)
        both = masks.both(side)
        whole, part = maps, None
        for axis in reversed(range(len(self.windows))):
            new = _over_taps(whole, axes, axis, alone[axis])
            if part is not None:
                old = _over_taps(part, axes, axis, both[axis])
                new = old if new is None else new + old
            whole, part = _over_taps(whole, axes, axis, own[axis]), new
        return part * (1 / self._count)  # type: ignore[operator]

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        given = pairs[0].map(lambda array: self._mean(array, seen.masks.both(), step))
        if seen.first is None:
            return given
        return Pairs(given.moment + seen.first + seen.second, given.ntk)

    @property
    def _count(self) -> int:
        return math.prod(window.taps for window in self.windows)

    def _axes(self, step: Step) -> Axes:
        return tuple(zip(self.windows, step.below.sizes, step.here.cross.periods, strict=True))

    def _mean(self, array: Array, masks: Masks, step: Step) -> Array:
        """Mean over taps of the entries at their positions, where the masks let them through."""
        return _over_all_taps(array, masks, self._axes(step))


@functools.partial(jax.jit, static_argnames="axes")
def _over_all_taps(array: Array, masks: Masks, axes: Axes) -> Array:
    """Mean over taps along all axes; traced once for all layers that are alike."""
    count = math.prod(window.taps for window, _, _ in axes)

    def over_taps(array: Array, masks: Masks, axis: int = 0) -> Array:
        if axis == len(axes):
            return array
        # The window slides before later axes are summed: so XLA on CPU reads one array of pairs at
        # all taps, and needs no other.
        later = lambda entries: over_taps(entries, masks, axis + 1)  # noqa: E731
        return _over_taps(array, axes, axis, masks[axis], later)

    if all(window.stride == 1 for window, _, _ in axes):
        steps = [lambda masks, array: _scattered(array, masks, axes)]
    else:
        steps = [
            lambda masks, array, axis=axis: _over_taps(array, axes, axis, masks[axis])
            for axis in range(len(axes))
        ]
    *others, final = steps
    return linear_stored(
        lambda masks, array: over_taps(array, masks) * (1 / count),
        masks,
        array,
        [*others, lambda masks, array: final(masks, array) * (1 / count)],
    )


def _scattered(array: Array, masks: Masks, axes: Axes) -> Array:
    """The sum over taps of strides 1, as a sum of displaced arrays in a frame that holds all.

    Backwards it is a window that slides over the cotangents within the frame, one loop, and not a
    sum of arrays that are padded for each tap.
    """
    ndim = len(axes)
    starts = [
        {tap: window.first(tap, size) for tap in of_axis}
        for (window, size, _), of_axis in zip(axes, masks, strict=True)
    ]
    last = [max(of_axis.values()) for of_axis in starts]
    ends = [last[k] - min(of_axis.values()) for k, of_axis in enumerate(starts)]
    frames = [array.shape[k] + ends[k] for k in range(ndim)]

    def framed(mask: Array, axis: int) -> Array:
        """The mask of a tap, zero outside the outputs."""
        beyond = frames[axis] - last[axis] - mask.shape[0]
        wide = jnp.pad(mask, [(last[axis], beyond), *[(0, 0)] * (mask.ndim - 1)])
        return along_positions(wide, array.ndim, axis, ndim).astype(array.dtype)

    total = jnp.zeros((), array.dtype)
    for taps in itertools.product(*masks):
        shifts = [last[k] - starts[k][tap] for k, tap in enumerate(taps)]
        around = [(shift, end - shift, 0) for shift, end in zip(shifts, ends, strict=True)]
        one = lax.pad(array, total.dtype.type(0), [*around, *[(0, 0, 0)] * (array.ndim - ndim)])
        for axis, tap in enumerate(taps):
            if (mask := masks[axis][tap]) is not None:
                one = one * framed(mask, axis)
        total = total + one
    inside = (
        slice(start, start + period) for start, (_, _, period) in zip(last, axes, strict=True)
    )
    return total[tuple(inside)]


def _over_taps(
    array: Array,
    axes: Axes,
    axis: int,
    masks: Mapping[int, Any],
    then: Callable[[Array], Array] = lambda entries: entries,
) -> Any:
    """Sum over taps along one axis of `then` of the entries there; None for no taps."""
    window, size, period = axes[axis]
    total = None
    for tap, mask in masks.items():
        entries = then(window.slide(array, axis, tap, size, period))
        if mask is not None:
            entries = entries * along_positions(mask, entries.ndim, axis, len(axes)).astype(
                entries.dtype
            )
        total = entries if total is None else total + entries
    return total


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TapMasks:
    """Which outputs of a diagonal a tap counts for.

    Attributes:
      weights: for each axis and side, where a tap is inside the image of the side, both images, and
        that of the side alone: (which, tap, period), and lanes where there are several diagonals;
        None where it always is.
      everywhere: for each axis and tap, whether it always is.
      leave: whether some tap is inside on one side alone.
    """

    weights: list[tuple[Array, Array] | None]
    everywhere: tuple[tuple[bool, ...], ...] = static()
    leave: bool = static()

    def both(self, side: Side = FIRST) -> Masks:
        """Where a tap is inside on both sides, as whichever side holds it."""
        return self._of(side, 1)

    def own(self, side: Side) -> Masks:
        """Where a tap is inside the image of one side."""
        return self._of(side, 0)

    def alone(self, side: Side) -> Masks:
        """Where a tap is inside that image alone."""
        masks = self._of(side, 2)
        return [{i: mask for i, mask in axis.items() if mask is not None} for axis in masks]

    def _of(self, side: Side, which: int) -> Masks:
        def of_axis(weights: tuple[Array, Array] | None, everywhere: tuple[bool, ...]) -> Any:
            if weights is None:
                return dict.fromkeys(range(len(everywhere)))
            held = weights[side.is_second]
            return {i: None if always else held[which, i] for i, always in enumerate(everywhere)}

        return list(map(of_axis, self.weights, self.everywhere))


#: In the order of `TapMasks.weights`, what a tap can count for, as factors of w, w' and w w', for
#: either side.
_KINDS = np.array(
    [[[1, 0, 0], [0, 0, 1], [1, 0, -1]], [[0, 1, 0], [0, 0, 1], [0, 1, -1]]], np.float32
)


def _seen_together(inside: np.ndarray, shift: int | Array) -> Any:
    """What `TapMasks.weights` holds of an axis, given whether a tap is inside: (tap, period)."""
    first, period = inside.astype(np.float32), inside.shape[1]

    def seen(shift: int | Array) -> Any:
        second = rings(jnp.asarray(first), (shift,), (period,), 1)
        of_side = []
        for kinds in _KINDS:
            of_first, of_second, of_both = kinds.T[:, :, None, None]
            of_side.append(
                of_first * first[None] + (of_second + of_both * first[None]) * second[None]
            )
        return tuple(of_side)

    if isinstance(shift, int):
        return seen(shift)
    # Stored, or XLA would make it anew for every image.
    return materialized(jax.vmap(seen, out_axes=-1) if jnp.ndim(shift) else seen, shift)
