"""Branches put side by side along positions or examples: FanInConcat.

The branches must be independent Gaussians of mean zero. Then positions of different branches are
independent, and the kernel consists of blocks. Two branches a and b with one position each:

    K = [[K_a, 0], [0, K_b]],    D = [[D_a, v1_a + v2_b], [v1_b + v2_a, D_b]].

All branches have diagonals of one period, at least as long as all positions together. So output
diagonal d is made of diagonal d of each branch: their entries stand one after the other, and where
the partner of an entry is in another block, what its branch holds there is not read.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.algebra.diagonals import rings
from ntkjax._kernel.algebra.image import Image
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.lanes import along_positions
from ntkjax._kernel.algebra.operation import (
    BatchOperation,
    Context,
    RowOperation,
    Seen,
    Step,
    operation,
    static,
)
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.algebra.sides import Row
from ntkjax._kernel.algebra.signal import Shape, Signal
from ntkjax._kernel.operations.combine import (
    all_sources,
    check_equal_but,
    check_independent,
    check_zero_mean,
    in_common_scale,
    in_new_scale,
    joined_data,
)


def _joined_signal(signals: tuple[Signal, ...], axis: int) -> Signal:
    """The signal of independent branches side by side along an axis."""
    first = signals[0]
    check_equal_but(signals, axis)
    if len(signals) > 1:
        check_zero_mean(signals)
        check_independent(signals)

    def shape(shapes: Sequence[Shape]) -> Shape:
        return (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])

    return dataclasses.replace(
        first,
        shape1=shape([s.shape1 for s in signals]),
        shape2=shape([s.shape2 for s in signals]),
        sources=all_sources(signals),
        is_nonnegative=all(s.is_nonnegative for s in signals),
    )


class _Maps(NamedTuple):
    """What the pairs of branches side by side need of an image."""

    branches: Any  # of each, its factor in the common scale, and that times v; None for 1
    var: Array | None  # of the output


@operation
class PositionConcat(RowOperation):
    """Independent branches side by side along one spatial axis, given by its order."""

    axis: int = static()

    works_unscaled = True
    unmasks = False

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        return _joined_signal(signals, signals[0].spatial_axes[self.axis])

    @property
    def keeps_rows(self) -> bool:
        return False  # of the same displacement, but of other sizes

    def mask(self, masks: tuple[Array, ...], signal: Signal) -> Array:
        """Those of the branches, side by side."""
        return jnp.concatenate(masks, self.axis)

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, _Maps]:
        step, scale, maps = context.step, images[0].scale, None
        known = images[0].variance is not None
        variances: Any = [image.variance for image in images]
        if step.renews_scale:
            scale, maps = in_common_scale(images, context)
            variances = [factor * product for factor, product in maps if product is not None]
        var = self._side_by_side(variances, step) if known else None
        return Image(scale, var, joined_data(images)), _Maps(maps, var)

    def masks(self, here: Row, below: Row | None, step: Step) -> Array:
        """At which positions the partner is one of the same branch."""
        sizes = [place.cross.sizes[self.axis] for place in step.inputs]
        period, shift = here.grid.periods[self.axis], here.shift[self.axis]
        block = np.full(period, len(sizes))
        block[: sum(sizes)] = np.repeat(np.arange(len(sizes)), sizes)

        def together(shift: Any) -> Array:
            return jnp.asarray(block) == rings(jnp.asarray(block), (shift,), (period,))

        return jax.vmap(together, out_axes=-1)(shift) if jnp.ndim(shift) else together(shift)

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        first, second, is_distance = seen.first, seen.second, step.here.form.is_distance
        if step.renews_scale:
            sides = zip(pairs, first.branches, second.branches, strict=True)
            pairs = tuple(in_new_scale(*branch, is_distance) for branch in sides)
        moment = self._side_by_side([given.moment for given in pairs], step)
        together = along_positions(seen.masks, moment.ndim, self.axis, step.here.cross.ndim)
        apart = first.var + second.var if is_distance else jnp.zeros_like(moment)
        moment = jnp.where(together, moment, apart)
        if not step.here.form.has_tangent:
            return Pairs(moment)
        tangents = [jnp.zeros_like(p.moment) if p.ntk is None else p.ntk for p in pairs]
        return Pairs(moment, jnp.where(together, self._side_by_side(tangents, step), 0.0))

    def _side_by_side(self, arrays: Sequence[Array], step: Step) -> Array:
        """The positions of all branches, one after the other, and zeros up to the period."""
        periods = step.here.cross.periods
        parts = []
        for array, place in zip(arrays, step.inputs, strict=True):
            array = jnp.broadcast_to(array, (*periods, *array.shape[len(periods) :]))
            size = place.cross.sizes[self.axis]
            parts.append(jax.lax.slice_in_dim(array, 0, size, axis=self.axis))
        joined = jnp.concatenate(parts, self.axis)
        pad = [(0, 0)] * joined.ndim
        pad[self.axis] = (0, periods[self.axis] - joined.shape[self.axis])
        return jnp.pad(joined, pad)


@operation
class BatchConcat(BatchOperation):
    """Independent branches side by side along the batch axis: more examples."""

    mixes_examples = False

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        return _joined_signal(signals, signals[0].batch_axis)

    def of_batches(self, *kernels: Kernel) -> Kernel:
        first = kernels[0]
        own1 = [cast(Array, k.cov1) for k in kernels]
        own2 = own1 if first.cov2 is None else [cast(Array, k.cov2) for k in kernels]
        # Positions of two examples, of their own covariances: variances of either side.
        var1, var2 = [_variances(c) for c in own1], [_variances(c) for c in own2]

        def blocks(arrays: list[Any], apart: Any = None) -> Array:
            """A matrix of blocks, with zeros off the diagonal, or what `apart` says."""
            rows = [
                [
                    array
                    if i == j
                    else (
                        jnp.zeros((len(own1[i]), len(own2[j]), *array.shape[2:]), array.dtype)
                        if apart is None
                        else apart(var1[i], var2[j])
                    )
                    for j in range(len(arrays))
                ]
                for i, array in enumerate(arrays)
            ]
            return jnp.concatenate([jnp.concatenate(row, 1) for row in rows], 0)

        signal = _shapes(kernels)
        distances = [k.distance for k in kernels]
        has_distances = all(distance is not None for distance in distances)
        return dataclasses.replace(
            first,
            nngp=blocks([k.nngp for k in kernels]),
            ntk=None if first.ntk is None else blocks([k.ntk for k in kernels]),
            cov1=jnp.concatenate(own1),
            cov2=None if first.cov2 is None else jnp.concatenate(own2),
            distance=blocks(distances, _apart) if has_distances else None,
            diagonal_batch=True,
            mask1=_masks(kernels, 1),
            mask2=_masks(kernels, 2),
            **signal,
        )


def _variances(own: Array) -> Array:
    """(n, h, h, w, w, ...) -> (n, h, w, ...): equal positions."""
    for axis in range(1, 1 + (own.ndim - 1) // 2):
        own = jnp.moveaxis(jnp.diagonal(own, axis1=axis, axis2=axis + 1), -1, axis)
    return own


def _apart(first: Array, second: Array) -> Array:
    """Normalised distances of independent examples: 2, but 0 where a variance is; interleaved."""
    ndim = first.ndim - 1
    one = first.reshape(-1, 1, *(n for size in first.shape[1:] for n in (size, 1)))
    two = second.reshape(1, -1, *(n for size in second.shape[1:] for n in (1, size)))
    assert one.ndim == two.ndim == 2 + 2 * ndim
    return jnp.where((one > 0) & (two > 0), jnp.asarray(2, first.dtype), 0)


def _masks(kernels: Sequence[Kernel], side: int) -> Array | None:
    """The masks of all branches side by side; None where none has one."""
    masks = [getattr(k, f"mask{side}") for k in kernels]
    if all(mask is None for mask in masks):
        return None
    axis, channels = kernels[0].batch_axis, kernels[0].channel_axis
    parts = []
    for k, mask in zip(kernels, masks, strict=True):
        shape = list(getattr(k, f"shape{side}"))
        shape[channels] = 1
        parts.append(jnp.zeros(shape, bool) if mask is None else jnp.broadcast_to(mask, shape))
    return jnp.concatenate(parts, axis)


def _shapes(kernels: Sequence[Kernel]) -> dict[str, Shape]:
    """The shapes of all branches' activations side by side."""
    axis = kernels[0].batch_axis

    def shape(shapes: Sequence[Shape]) -> Shape:
        return (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])

    return {
        "shape1": shape([k.shape1 for k in kernels]),
        "shape2": shape([k.shape2 for k in kernels]),
    }
