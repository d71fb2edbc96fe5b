"""The inputs of a network: batches of arrays, and kernels that another network returned.

Distances of near arrays are sums of squared differences, never differences of products, so that
near-equal inputs keep all their digits.
"""

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.diagonals import Diagonals
from ntkjax._kernel.algebra.form import Form
from ntkjax._kernel.algebra.image import VALUES, Image, new_scale, root_mean_square
from ntkjax._kernel.algebra.operation import Context, Operation, Seen, Step, operation
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.operations.distances import (
    mean_over_channels,
    mean_products,
    mean_square,
    mean_squared_distances,
    squared_distance,
)


@operation
class ArrayInput(Operation):
    """Two batches of arrays: D = mean over channels of (g(x)[p] - g(x')[q])^2."""

    carries_supplement = True
    map_axes = 1
    works_unscaled = True

    def form(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> Form:
        return Form(is_distance)

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, Array]:
        """The images g = x / s, channels in front."""
        here, x = context.step.here, context.array
        axis = here.signal.batch_axis
        if context.step.is_unscaled:
            scale = jnp.ones(x.shape[axis], x.dtype)
        else:
            # As users lay images out, so that the sums of each go along the memory.
            others = tuple(i for i in range(x.ndim) if i != axis)
            scale = new_scale(root_mean_square(x, others), context.ahead, ())
            x = x / jnp.expand_dims(scale, others)
        values = self.channels_first(x, here.signal, here.cross)
        var = mean_square(values) if here.form.is_distance else None
        return Image(scale, var, {VALUES: values}), values

    def channels_first(self, x: Array, signal: Signal, grid: Diagonals) -> Array:
        """A batch as `[channel, position per axis ..., image]`."""
        return by_position(x, signal, grid)

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        first, second = seen.first, seen.second
        if step.is_supplement:
            second = -second  # (a + b)^2 is the squared distance of a and -b
        is_distance = step.here.form.is_distance
        if first.ndim == 2 + len(step.here.signal.spatial_axes):  # each image with itself
            term = squared_distance if is_distance else jnp.multiply
            return Pairs(mean_over_channels(term, first, second))
        sides = first[..., 0], second[..., 0, :]
        if not is_distance:
            return Pairs(mean_products(*sides))
        # Without positions, an image is paired with itself there and not somewhere else.
        is_alone = first.ndim == 3 and not step.is_supplement
        return Pairs(mean_squared_distances(*sides, seen.same if is_alone else None))


@operation
class FlatInput(ArrayInput):
    """Two batches of arrays under a Flatten, whose positions are channels from the start.

    The mean over positions of a mean over channels is a mean over both, which is one product of
    matrices.
    """

    def channels_first(self, x: Array, signal: Signal, grid: Diagonals) -> Array:
        x = jnp.moveaxis(x, signal.batch_axis, 0)
        return x.reshape(len(x), -1).T


def by_position(x: Array, signal: Signal, grid: Diagonals) -> Array:
    """A batch as `[channel, position per axis ..., image]`, padded to the periods."""
    x = jnp.transpose(x, (signal.channel_axis, *signal.spatial_axes, signal.batch_axis))
    pad = [(0, period - size) for size, period in zip(grid.sizes, grid.periods, strict=True)]
    return jnp.pad(x, [(0, 0), *pad, (0, 0)])
