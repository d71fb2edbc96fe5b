"""A fixed array times the activations, as `jax.lax.dot_general` multiplies arrays: DotGeneral.

The axes of the result are those which both factors share (batch dimensions), then what is left of
the left factor, then of the right one. With respect to positions, that is a fixed linear map
z[P] = sum_p A[P, p] x[p]. Without a sum, and with the axes in their order, z[p] = w[p] x[p].
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntkjax._kernel.algebra.diagonals import Diagonals
from ntkjax._kernel.algebra.image import Image
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.operation import (
    BatchOperation,
    Context,
    LayerError,
    RowOperation,
    Seen,
    Step,
    operation,
    static,
)
from ntkjax._kernel.algebra.pairs import Pairs, rescaled
from ntkjax._kernel.algebra.roots import positive_part
from ntkjax._kernel.algebra.signal import Shape, Signal
from ntkjax._kernel.operations.fixed_map import FixedMap
from ntkjax._kernel.operations.whole import interleaved, square


class Dots(NamedTuple):
    """Which axes of the input x and of the fixed array meet; all axes are not negative.

    Attributes:
      is_lhs: whether the fixed array is the left factor.
      summed: pairs (axis of x, axis of the array) to sum over.
      shared: pairs that the result keeps, as its first axes.
    """

    is_lhs: bool
    summed: tuple[tuple[int, int], ...]
    shared: tuple[tuple[int, int], ...]

    def product(self, array: Array, x: Array, precision: Any = lax.Precision.HIGHEST) -> Array:
        """The array times x."""
        axes: Any = tuple(tuple(zip(*pairs, strict=True)) or ((), ()) for pairs in self[1:])
        if not self.is_lhs:
            return lax.dot_general(x, array, axes, precision)
        swapped: Any = tuple((of_array, of_x) for of_x, of_array in axes)
        return lax.dot_general(array, x, swapped, precision)

    def axes(self, x_ndim: int, array_ndim: int) -> list[tuple[bool, int]]:
        """The axes of the result: whether an axis is one of the array alone, and which."""
        taken = self.summed + self.shared
        of_x = [(False, i) for i in range(x_ndim) if i not in [pair[0] for pair in taken]]
        own = [(True, i) for i in range(array_ndim) if i not in [pair[1] for pair in taken]]
        first = [(False, of_x) for of_x, _ in self.shared]
        return first + (own + of_x if self.is_lhs else of_x + own)

    def signal(self, signal: Signal, shape: Shape) -> Signal:
        """The signal of the result, of an array of this shape."""
        axes = self.axes(len(signal.shape1), len(shape))

        def of(given: Shape) -> Shape:
            return tuple(shape[i] if is_own else given[i] for is_own, i in axes)

        return dataclasses.replace(
            signal,
            shape1=of(signal.shape1),
            shape2=of(signal.shape2),
            batch_axis=axes.index((False, signal.batch_axis)),
            channel_axis=axes.index((False, signal.channel_axis)),
            is_nonnegative=False,
        )

    def matrix(self, array: Array, signal: Signal) -> Array:
        """A[P, p], positions of all spatial axes in one: what becomes of unit vectors."""
        count = math.prod(signal.sizes)
        shape = [0] * len(signal.shape1)
        for axis, size in zip(signal.spatial_axes, signal.sizes, strict=True):
            shape[axis] = size
        # One example whose channels are the positions.
        shape[signal.batch_axis], shape[signal.channel_axis] = 1, count
        units = jnp.moveaxis(jnp.eye(count, dtype=array.dtype), 1, 0)
        others = [axis for axis in range(len(shape)) if axis != signal.channel_axis]
        units = units.reshape(*(shape[axis] for axis in others), count)
        units = jnp.moveaxis(units, -1, signal.channel_axis)
        after = self.signal(signal, array.shape)
        made = self.product(array, units)
        front = after.batch_axis, *after.spatial_axes, after.channel_axis
        return jnp.transpose(made, front).reshape(-1, count)

    def hidden(self, array: Array, mask: Array | None) -> Array | None:
        """Where all that an output is made of is masked, or has a weight of zero."""
        if mask is None:
            return None
        used, held = (a.astype(array.dtype) for a in (array != 0, ~mask))
        return ~(self.product(used, held) > 0)

    def without(self, pair: tuple[int, int]) -> "Dots":
        """The same for one example, of an array with its axis `pair[1]` cut."""

        def cut(pairs: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
            return tuple((x, own - (own > pair[1])) for x, own in pairs if (x, own) != pair)

        return Dots(self.is_lhs, cut(self.summed), cut(self.shared))


@operation
class Weigh(RowOperation):
    """Each position times a number of its own."""

    array: Array
    dots: Dots = static()

    works_unscaled = True
    unmasks = False

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        return self.dots.signal(signals[0], self.array.shape)

    def _in_order(self, axes: Sequence[int]) -> Array:
        """The numbers along these axes of the input; of size one, where all positions are alike."""
        place = dict(self.dots.shared)
        kept = [place[axis] for axis in axes if axis in place]
        lengths = [self.array.shape[place[axis]] if axis in place else 1 for axis in axes]
        return jnp.transpose(self.array, kept).reshape(lengths)

    def _weights(self, signal: Signal, grid: Diagonals) -> Array:
        """The numbers, `[position per axis ...]`; one, where all positions are alike."""
        weights, place = self._in_order(signal.spatial_axes), dict(self.dots.shared)
        pad = [
            (0, period - n if axis in place else 0)
            for axis, n, period in zip(
                signal.spatial_axes, weights.shape, grid.periods, strict=True
            )
        ]
        return jnp.pad(weights, pad) if pad else weights

    def mask(self, masks: tuple[Array, ...], signal: Signal) -> Array:
        """Where the input is masked, or the number is zero."""
        axes = self.dots.axes(len(signal.shape1), self.array.ndim)
        weights = self._in_order([axes[axis][1] for axis in signal.spatial_axes])
        return masks[0] | (weights == 0)[..., None]

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, Any]:
        (image,), step = images, context.step
        weights = self._weights(step.signal, step.below)[..., None]
        weights = jnp.broadcast_to(weights, (*weights.shape[:-1], image.scale.shape[-1]))
        if image.variance is None:
            return image, (weights, None)
        scaled = weights * image.variance
        return image.with_variance(weights * scaled), (weights, scaled)

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        (given,), (w1, s1), (w2, s2) = pairs, seen.first, seen.second
        moved = given.map(lambda a: w1 * w2 * a)
        if not step.here.form.is_distance:
            return moved
        distance = rescaled(given.moment, (w1, s1), (w2, s2))
        return Pairs(positive_part(distance), moved.ntk)


@operation
class DotMap(FixedMap):
    """A linear map of all positions by the fixed array, of an input of the given signal."""

    array: Array
    dots: Dots = static()
    given: Signal = static()

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        return self.dots.signal(signals[0], self.array.shape)

    def matrix(self, step: Step) -> Array:
        return self.dots.matrix(self.array, step.signal)

    def mask(self, masks: tuple[Array, ...], signal: Signal) -> Array:
        """Where all positions that an output is made of are masked."""
        (mask,) = masks
        used = (self.dots.matrix(self.array, self.given) != 0).astype(np.float32)
        held = (~mask).reshape(-1, mask.shape[-1]).astype(np.float32)
        return ~(used @ held > 0).reshape(*signal.sizes, mask.shape[-1])


@operation
class ExampleDot(BatchOperation):
    """A linear map of positions for each example: the batch is an axis of the array."""

    array: Array
    dots: Dots = static()

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        count = self.array.shape[self._pair(signal)[1]]
        for shape in (signal.shape1, signal.shape2):
            if shape[signal.batch_axis] != count:
                raise LayerError(
                    f"its array has {count} entries along the batch axis of its input, but "
                    f"{shape[signal.batch_axis]} examples came; pass batches of {count}."
                )
        return self.dots.signal(signal, self.array.shape)

    def _pair(self, signal: Signal) -> tuple[int, int]:
        return next(pair for pair in self.dots.shared if pair[0] == signal.batch_axis)

    def of_batches(self, *kernels: Kernel) -> Kernel:
        (kernel,) = kernels
        signal = Signal(kernel.shape1, kernel.shape2, kernel.batch_axis, kernel.channel_axis)
        after, pair = self.dots.signal(signal, self.array.shape), self._pair(signal)
        dots = self.dots.without(pair)
        of_example = functools.partial(dots.matrix, signal=signal)
        weights = jax.vmap(of_example)(jnp.moveaxis(self.array, pair[1], 0))
        below, here = (Diagonals(s.sizes, s.sizes, ((0,),) * len(s.sizes)) for s in (signal, after))
        mapped = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)

        def pairs(array: Array | None) -> Array | None:
            if array is None:
                return None
            made = mapped("mPp,mnpq,nQq->mnPQ", weights, square(array, below), weights)
            return interleaved(made, here)

        def own(array: Array | None) -> Array | None:
            return None if array is None else jnp.einsum("nn...->n...", pairs(array))

        return kernel.replace(
            nngp=pairs(kernel.nngp),
            ntk=pairs(kernel.ntk),
            cov1=own(kernel.cov1),
            cov2=own(kernel.cov2),
            mask1=self.dots.hidden(self.array, kernel.mask1),
            mask2=self.dots.hidden(self.array, kernel.mask2),
            shape1=after.shape1,
            shape2=after.shape2,
            batch_axis=after.batch_axis,
            channel_axis=after.channel_axis,
            diagonal_batch=True,
        )
