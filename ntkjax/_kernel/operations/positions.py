"""Positional embeddings: random vectors of positions, the same for all images.

With embeddings e_p of covariance R[p, q], independent of the input, x_p becomes x_p + e_p and

    K <- w K + R,    Theta <- w Theta + R,

the latter since embeddings are trained. R depends on how far two positions are apart along each
axis, so a table of these distances holds it: of four positions and R = [p = q], it is [1, 0, 0, 0].
Images held as g = f / s have embeddings e / s. With i = 1 / s and R0 = R[p, p],

    K <- w K + R i1 i2,    D <- w D + R0 (i1 - i2)^2 + 2 (R0 - R) i1 i2.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.algebra.boundary import materialized
from ntkjax._kernel.algebra.diagonals import Diagonals, rings
from ntkjax._kernel.algebra.form import Form
from ntkjax._kernel.algebra.image import Image, on_positions
from ntkjax._kernel.algebra.operation import (
    Context,
    Operation,
    RowOperation,
    Seen,
    Step,
    operation,
    static,
)
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.algebra.sides import Row
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.operations.masked import Masked


@operation
class Embeddings:
    """What positional embeddings make of a kernel."""

    #: w, what the input is multiplied by, squared.
    input_var: float | Array
    #: R by the distance of two positions along each axis, `[distance per axis ...]`.
    table: Array

    @property
    def variance(self) -> Array:
        """R[p, p], of the embedding of one position."""
        return self.table[(0,) * self.table.ndim]

    def matrix(self, dtype: Any) -> Array:
        """R of all pairs of positions, those of all axes in one: `[p, q]`."""
        sizes = self.table.shape
        grid = np.indices(sizes).reshape(len(sizes), -1)
        apart = np.abs(grid[:, :, None] - grid[:, None, :])
        count = math.prod(sizes)
        return jnp.asarray(self.table, dtype)[tuple(apart)].reshape(count, count)


class _Maps(NamedTuple):
    """What pairs need of an image."""

    inverse: Array  # 1 / s


@operation
class AddPositions(RowOperation):
    """Add embeddings to every position."""

    embeddings: Embeddings
    channels: int | None = static(default=None)
    is_nonnegative: bool = static(default=False)

    carries_supplement = True
    unmasks = False  # of what follows where inputs are masked, the last

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        out = signal if self.channels is None else signal.with_channels(self.channels)
        return dataclasses.replace(
            out,
            sources=signal.sources | {source},
            is_nonnegative=signal.is_nonnegative and self.is_nonnegative,
        )

    def where_masked(self) -> tuple[Operation, ...]:
        """Masked positions have no embeddings."""
        return self, Masked()

    def affine_variances(self) -> tuple[Any, Any]:
        return self.embeddings.input_var, self.embeddings.variance

    def form(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> Form:
        """Of an excess, the embeddings cancel; tangents have them from the first layer on."""
        (form,) = given
        if form.is_excess:
            return Form(is_distance, form.has_tangent, is_excess=True)
        return Form(is_distance, ntk)

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, _Maps]:
        (image,) = images
        # Clipped, so that no product of two overflows (see `Affine`).
        scale = jnp.maximum(image.scale, jnp.finfo(image.scale.dtype).tiny ** 0.5)
        inverse = on_positions(1 / scale, context.step.below.ndim + 1)
        if image.variance is not None:
            variance = jnp.asarray(self.embeddings.variance, inverse.dtype)
            after = self.embeddings.input_var * image.variance + variance * jnp.square(inverse)
            image = image.with_variance(after)
        return image, _Maps(inverse)

    def masks(self, here: Row, below: Row | None, step: Step) -> Array:
        """R on a diagonal, `[position per axis ...]`, and a last axis of several diagonals."""
        table = self.embeddings.table

        def on(shift: tuple[Any, ...]) -> Array:
            index = []
            for axis, d in enumerate(shift):
                size, period = here.grid.sizes[axis], here.grid.periods[axis]
                p = jnp.arange(period)
                apart = jnp.abs(p - rings(p, (d,), (period,)))
                at = jnp.minimum(apart, size - 1)  # where a place is dead, it may be beyond
                index.append(at.reshape([-1 if k == axis else 1 for k in range(len(shift))]))
            return table.at[tuple(index)].get(mode="promise_in_bounds") if index else table

        if all(isinstance(d, int) for d in here.shift):
            return on(here.shift)
        fn = jax.vmap(on, out_axes=-1) if here.several else on
        shift = tuple(jnp.broadcast_arrays(*here.shift)) if here.several else here.shift
        return materialized(fn, shift)

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        (given,) = pairs
        weight, form = self.embeddings.input_var, step.here.form
        both = seen.first.inverse * seen.second.inverse
        cov = _along_lanes(seen.masks, given.moment, step.below)
        ntk = None if given.ntk is None else weight * given.ntk
        if form.has_tangent and not form.is_excess:
            ntk = cov * both if ntk is None else ntk + cov * both
        if not form.is_distance:
            return Pairs(weight * given.moment + cov * both, ntk)
        variance = jnp.asarray(self.embeddings.variance, both.dtype)
        rest = 2 * (variance - cov) * both
        if step.is_supplement:
            added = variance * jnp.square(seen.first.inverse + seen.second.inverse) - rest
        else:
            added = variance * jnp.square(seen.first.inverse - seen.second.inverse) + rest
        return Pairs(weight * given.moment + added, ntk)


def _along_lanes(mask: Array, row: Array, grid: Diagonals) -> Array:
    """A mask of positions (and of lanes, of several diagonals) as pairs see it."""
    lanes = mask.shape[grid.ndim :] or (1,)
    shape = *mask.shape[: grid.ndim], *(1,) * (row.ndim - grid.ndim - 1), *lanes
    return jnp.asarray(mask, row.dtype).reshape(shape)
