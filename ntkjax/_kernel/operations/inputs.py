"""The inputs of a network: batches of arrays, and kernels that another network returned.

Distances of arrays are sums of squared differences, never differences of products, so that
near-equal inputs keep all their digits.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.algebra.boundary import materialized
from ntkjax._kernel.algebra.diagonals import Diagonals
from ntkjax._kernel.algebra.form import Form
from ntkjax._kernel.algebra.image import VALUES, Image, new_scale, on_positions, root_mean_square
from ntkjax._kernel.algebra.operation import Context, Operation, Seen, Step, operation
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.algebra.varying import zeros_beside

#: How many channels are summed in one pass over a block of pairs: enough that the block is read and
#: written rarely, few enough that the inputs stay in registers.
_CHANNELS_AT_ONCE = 16


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
        here = context.step.here
        x = by_position(context.array, here.signal, here.cross)
        if context.step.is_unscaled:
            var = jnp.mean(jnp.square(x), axis=0) if here.form.is_distance else None
            return Image(jnp.ones(x.shape[-1:], x.dtype), var, {VALUES: x}), x
        axes = tuple(range(x.ndim - 1))
        # Of the positions that exist: dead places are zero, and count for nothing.
        std = root_mean_square(x[(slice(None), *here.cross.crop)], axes)
        scale = new_scale(std, context.ahead, ())
        values = x / on_positions(scale, x.ndim)
        var = jnp.mean(jnp.square(values), axis=0) if here.form.is_distance else None
        return Image(scale, var, {VALUES: values}), values

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        if not step.here.form.is_distance:
            term = jnp.multiply
        else:
            term = squared_sum if step.is_supplement else squared_distance
        return Pairs(mean_over_channels(term, seen.first, seen.second))


def by_position(x: Array, signal: Signal, grid: Diagonals) -> Array:
    """A batch as `[channel, position per axis ..., image]`, padded to the periods."""
    x = jnp.transpose(x, (signal.channel_axis, *signal.spatial_axes, signal.batch_axis))
    pad = [(0, period - size) for size, period in zip(grid.sizes, grid.periods, strict=True)]
    return jnp.pad(x, [(0, 0), *pad, (0, 0)])


def squared_distance(a: Array, b: Array) -> Array:
    """(a - b)^2: the term of a distance, summed over channels."""
    return jnp.square(a - b)


def squared_sum(a: Array, b: Array) -> Array:
    """(a + b)^2, the squared distance of a and -b."""
    return jnp.square(a + b)


def mean_over_channels(term: Callable[[Array, Array], Array], first: Array, second: Array) -> Array:
    """Mean over the leading axis of `term(first, second)`, without storing the terms.

    Sums of a few channels are added up, which rounds less than adding one channel after the other.
    """

    def summed(a: Array, b: Array) -> Array:
        terms = [term(a[i], b[i]) for i in range(a.shape[0])]
        while len(terms) > 1:
            pairs = zip(terms[::2], terms[1::2], strict=False)
            terms = [x + y for x, y in pairs] + (terms[-1:] if len(terms) % 2 else [])
        return terms[0]

    channels = first.shape[0]
    chunks, rest = divmod(channels, _CHANNELS_AT_ONCE)
    if not chunks:
        return summed(first, second) / channels

    def split(x: Array) -> Array:
        return x[rest:].reshape(chunks, _CHANNELS_AT_ONCE, *x.shape[1:])

    def body(total: Array, part: tuple[Array, Array]) -> tuple[Array, None]:
        # Stored, so that the loop's place among the channels is taken once: within the sum, XLA on
        # CPU takes it for every pair, and four times as long.
        return materialized(lambda of: of[0] + summed(*of[1:]), (total, *part)), None

    shape = jax.eval_shape(term, first[0], second[0])
    zeros = zeros_beside(shape.shape, shape.dtype, (first, second))
    start = zeros + summed(first[:rest], second[:rest]) if rest else zeros
    total, _ = lax.scan(body, start, (split(first), split(second)))
    return total / channels
