r"""Mean products and squared distances of inputs of many channels, by products of matrices.

    P = mean over channels of a b,    D = mean of (a - b)^2 = v1 + v2 - 2 P.

A product of matrices is several times faster than a sum of squared differences, but it is rounded
to eps (v1 + v2), which takes digits from a D that is small. So the product is for all pairs, and
differences are for the blocks of pairs in which one is near, D < (v1 + v2) / 32. There, a rounding
error of the product moves the angle by 4 eps, less than the layers that follow do.

Worked example: of 2,000 images with themselves, in blocks of 64, only the 32 blocks on the diagonal
hold a near pair, as a rule; 1 of 31 pairs is computed twice.

Derivatives go the same way: forwards the change of D is

    dD = 2 mean of (a - b) (da - db)

by products for the blocks without a near pair, and by differences for the others.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.algebra.boundary import materialized, recomputed
from ntkjax._kernel.algebra.varying import zeros_beside

#: How many channels are summed in one pass over a block of pairs: enough that the block is read and
#: written rarely, few enough that the inputs stay in registers.
_CHANNELS_AT_ONCE = 16
#: From so many channels on, products of matrices are faster.
_WIDE = 64
#: Pairs are near where D is below this part of v1 + v2.
_NEAR = 1 / 32
#: Images on each side of a block, at most.
_BLOCK = 64


def mean_products(first: Array, second: Array) -> Array:
    """P, `[*positions, n1, n2]`, of arrays `[channel, *positions, n1]` and `[..., n2]`."""
    if len(first) < _WIDE:
        return mean_over_channels(jnp.multiply, first[..., None], second[..., None, :])
    return _products(first, second)


def mean_squared_distances(first: Array, second: Array) -> Array:
    """D, `[*positions, n1, n2]`, of arrays `[channel, *positions, n1]` and `[..., n2]`."""
    if len(first) < _WIDE:
        return mean_over_channels(squared_distance, first[..., None], second[..., None, :])
    return _wide_distances(first, second)


def mean_square(x: Array) -> Array:
    """v, the mean over channels, which come first, of x^2."""
    if len(x) < _WIDE:
        return jnp.mean(jnp.square(x), axis=0)
    # In the layout in which users give arrays, so that XLA does not move many channels twice.
    return jnp.mean(jnp.square(jnp.moveaxis(x, 0, -1)), axis=-1)


def squared_distance(a: Array, b: Array) -> Array:
    """(a - b)^2."""
    return jnp.square(a - b)


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


def _products(first: Array, second: Array) -> Array:
    """P by a product of matrices for each position."""
    positions = tuple(range(1, first.ndim - 1))
    dimensions = ((0,), (0,)), (positions, positions)
    products = lax.dot_general(first, second, dimensions, precision=lax.Precision.HIGHEST)
    return products / first.shape[0]


@jax.custom_jvp
def _wide_distances(first: Array, second: Array) -> Array:
    found = _by_products(first, second)
    return _mended(found, _near_blocks(found, first, second), first, second)


@_wide_distances.defjvp
def _jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    found = _wide_distances(*primals)
    near = _near_blocks(found, *primals)
    return found, _change(near, *primals, *tangents)


def _by_products(first: Array, second: Array) -> Array:
    """v1 + v2 - 2 P, which rounding could leave below zero."""
    return jnp.maximum(_variances(first, second) - 2 * _products(first, second), 0)


def _variances(first: Array, second: Array) -> Array:
    """v1 + v2 of each pair."""
    v1, v2 = (jnp.mean(jnp.square(x), 0) for x in (first, second))
    return v1[..., :, None] + v2[..., None, :]


def _near_blocks(distances: Array, first: Array, second: Array) -> Array:
    """Which blocks hold a near pair, `[*positions, block of first, block of second]`."""
    return _any_in_blocks(distances < _NEAR * _variances(first, second))


def _any_in_blocks(flags: Array) -> Array:
    *positions, n1, n2 = flags.shape
    (b1, size1), (b2, size2) = _blocks(n1), _blocks(n2)
    pad = [(0, 0)] * len(positions) + [(0, b1 * size1 - n1), (0, b2 * size2 - n2)]
    parts = jnp.pad(flags, pad).reshape(*positions, b1, size1, b2, size2)
    return jnp.any(parts, (-3, -1))


def _blocks(n: int) -> tuple[int, int]:
    """How many blocks so many images make, and how many images are in one."""
    size = min(_BLOCK, n)
    return -(-n // size), size


def _mended(distances: Array, near: Array, first: Array, second: Array) -> Array:
    """The same distances, those of near blocks by differences."""
    count = jnp.sum(near)
    places = jnp.nonzero(near, size=near.size, fill_value=0)
    sizes = [_blocks(x.shape[-1])[1] for x in (first, second)]

    def mend(i: Array, distances: Array) -> Array:
        *position, row, column = (place[i] for place in places)
        # The last block ends where the images do; where blocks overlap, nothing changes.
        ends = (x.shape[-1] - size for x, size in zip((first, second), sizes, strict=True))
        places_of = zip((row, column), sizes, ends, strict=True)
        starts = [jnp.minimum(n * size, end) for n, size, end in places_of]

        def block(x: Array, start: Array, size: int) -> Array:
            shape = (x.shape[0], *[1] * len(position), size)
            return lax.dynamic_slice(x, (0, *position, start), shape).reshape(-1, size)

        a, b = map(block, (first, second), starts, sizes)
        made = mean_over_channels(squared_distance, a[:, :, None], b[:, None, :])
        made = made.reshape(*[1] * len(position), *sizes)
        return lax.dynamic_update_slice(distances, made, (*position, *starts))

    return lax.fori_loop(0, count, mend, distances)


def _change(near: Array, first: Array, second: Array, d1: Array, d2: Array) -> Array:
    """The change of D with changes d1 and d2, in which it is linear."""
    of_v1, of_v2 = (2 * jnp.mean(x * dx, 0) for x, dx in ((first, d1), (second, d2)))
    products = _products(first, d2) + _products(d1, second)
    by_products = of_v1[..., :, None] + of_v2[..., None, :] - 2 * products
    *positions, n1, n2 = by_products.shape
    # A block is near where it is at any position.
    flags = jnp.any(near, tuple(range(len(positions))))
    (b1, size1), (b2, size2) = _blocks(n1), _blocks(n2)
    is_near = jnp.repeat(jnp.repeat(flags, size1, 0)[:n1], size2, 1)[:, :n2]

    def by_differences(*arrays: Array) -> Array:
        a, b, da, db = map(_in_blocks, arrays)
        made = _change_of_near(flags, (a, da), (b, db))
        # `[block, block, *positions, in block, in block]`.
        made = jnp.moveaxis(made, (0, 1), (-4, -2))
        return made.reshape(*positions, b1 * size1, b2 * size2)[..., :n1, :n2]

    def nothing(*arrays: Array) -> Array:
        return jnp.zeros_like(by_products)

    arrays = first, second, d1, d2
    of_near = lax.cond(jnp.any(flags), by_differences, nothing, *arrays)
    return jnp.where(is_near, of_near, by_products)


def _in_blocks(x: Array) -> Array:
    """`[channel, *positions, image]` as `[block, channel, *positions, in block]`."""
    *axes, n = x.shape
    count, size = _blocks(n)
    padded = jnp.pad(x, [(0, 0)] * len(axes) + [(0, count * size - n)])
    return jnp.moveaxis(padded.reshape(*axes, count, size), -2, 0)


def _change_of_near(flags: Array, rows: Any, columns: Any) -> Array:
    """The change of D in near blocks, and zero in others: `[block, block, *positions, ...]`."""

    def of_block(row: Any, given: Any) -> tuple[Any, Array]:
        flag, column = given

        def full(row: Any, column: Any) -> Array:
            both = zip(row, column, strict=True)
            step, change = (a[..., :, None] - b[..., None, :] for a, b in both)
            return 2 * jnp.mean(step * change, 0)

        def empty(row: Any, column: Any) -> Array:
            return jnp.zeros((*row[0].shape[1:], column[0].shape[-1]), row[0].dtype)

        return row, lax.cond(flag, full, empty, row, column)

    def of_row(carry: None, given: Any) -> tuple[None, Array]:
        of_columns, row = given
        # Differences of all pairs of all blocks would be far more than what they are made of.
        return carry, lax.scan(recomputed(of_block), row, (of_columns, columns))[1]

    return lax.scan(of_row, None, (flags, rows))[1]
