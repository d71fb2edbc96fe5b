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
from jax.custom_derivatives import SymbolicZero

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
    return _products(*map(_channels_last, (first, second)))


def mean_squared_distances(first: Array, second: Array, same: Array | None = None) -> Array:
    """D, `[*positions, n1, n2]`, of arrays `[channel, *positions, n1]` and `[..., n2]`.

    `same` says which pairs are known to be of one array with itself, `[n1, n2]`.
    """
    if len(first) < _WIDE:
        return mean_over_channels(squared_distance, first[..., None], second[..., None, :])
    return _wide_distances(*map(_channels_last, (first, second)), same)


def mean_square(x: Array) -> Array:
    """v, the mean over channels, which come first, of x^2."""
    if len(x) < _WIDE:
        return jnp.mean(jnp.square(x), axis=0)
    return jnp.mean(jnp.square(_channels_last(x)), axis=-1)


def _channels_last(x: Array) -> Array:
    """`[*positions, image, channel]`: as users lay arrays out, so that XLA need not turn them."""
    return jnp.moveaxis(x, 0, -1)


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
    """P by a product of matrices for each position; channels are last, as in all that follows."""
    positions, channels = tuple(range(first.ndim - 2)), (first.ndim - 1,)
    dimensions = (channels, channels), (positions, positions)
    products = lax.dot_general(first, second, dimensions, precision=lax.Precision.HIGHEST)
    return products / first.shape[-1]


@jax.custom_jvp
def _wide_distances(first: Array, second: Array, same: Array | None) -> Array:
    found = _by_products(first, second)
    is_near = jnp.any(_are_near(found, first, second, same))
    found = lax.cond(is_near, _mended, lambda found, *_: found, found, first, second, same)
    return found if same is None else jnp.where(same, 0.0, found)


def _jvp(primals: Any, tangents: Any) -> tuple[Array, Any]:
    (first, second, same), changes = primals, tangents[:2]
    found = _wide_distances(first, second, same)
    d1, d2 = (None if isinstance(d, SymbolicZero) else d for d in changes)
    if d1 is None and d2 is None:
        return found, SymbolicZero.from_primal_value(found)
    change = _change(_are_near(found, first, second, same), first, second, d1, d2)
    return found, change if same is None else jnp.where(same, 0.0, change)


_wide_distances.defjvp(_jvp, symbolic_zeros=True)


def _by_products(first: Array, second: Array) -> Array:
    """v1 + v2 - 2 P, which rounding could leave below zero."""
    return jnp.maximum(_variances(first, second) - 2 * _products(first, second), 0)


def _variances(first: Array, second: Array) -> Array:
    """v1 + v2 of each pair."""
    v1, v2 = (jnp.mean(jnp.square(x), -1) for x in (first, second))
    return v1[..., :, None] + v2[..., None, :]


def _are_near(distances: Array, first: Array, second: Array, same: Array | None) -> Array:
    """Which pairs are near, of two different arrays."""
    is_near = distances < _NEAR * _variances(first, second)
    return is_near if same is None else is_near & ~same


def _any_in_blocks(flags: Array) -> Array:
    """Which blocks hold a flag, `[*positions, block of first, block of second]`."""
    *positions, n1, n2 = flags.shape
    (b1, size1), (b2, size2) = _blocks(n1), _blocks(n2)
    pad = [(0, 0)] * len(positions) + [(0, b1 * size1 - n1), (0, b2 * size2 - n2)]
    parts = jnp.pad(flags, pad).reshape(*positions, b1, size1, b2, size2)
    return jnp.any(parts, (-3, -1))


def _blocks(n: int) -> tuple[int, int]:
    """How many blocks so many images make, and how many images are in one."""
    size = min(_BLOCK, n)
    return -(-n // size), size


def _mended(distances: Array, first: Array, second: Array, same: Array | None) -> Array:
    """The same distances, those of blocks that hold a near pair by differences."""
    near = _any_in_blocks(_are_near(distances, first, second, same))
    places = jnp.nonzero(near, size=near.size, fill_value=0)
    sizes = [_blocks(x.shape[-2])[1] for x in (first, second)]

    def mend(i: Array, distances: Array) -> Array:
        *position, row, column = (place[i] for place in places)
        # The last block ends where the images do; where blocks overlap, nothing changes.
        ends = (x.shape[-2] - size for x, size in zip((first, second), sizes, strict=True))
        begins = zip((row, column), sizes, ends, strict=True)
        starts = [jnp.minimum(n * size, end) for n, size, end in begins]

        def block(x: Array, start: Array, size: int) -> Array:
            shape = (*[1] * len(position), size, x.shape[-1])
            return lax.dynamic_slice(x, (*position, start, 0), shape).reshape(size, -1)

        made = _of_differences(*map(block, (first, second), starts, sizes))
        made = made.reshape(*[1] * len(position), *sizes)
        return lax.dynamic_update_slice(distances, made, (*position, *starts))

    return lax.fori_loop(0, jnp.sum(near), mend, distances)


def _of_differences(first: Array, second: Array) -> Array:
    """D of arrays `[image, channel]`."""
    return mean_over_channels(squared_distance, first.T[:, :, None], second.T[:, None, :])


def _change(
    is_near: Array, first: Array, second: Array, d1: Array | None, d2: Array | None
) -> Array:
    """The change of D with changes d1 and d2 (None where there is none), in which it is linear."""
    by_products = jnp.asarray(0, first.dtype)
    if d1 is not None:
        of_v1 = jnp.mean(first * d1, -1)[..., :, None]
        by_products += 2 * (of_v1 - _products(d1, second))
    if d2 is not None:
        of_v2 = jnp.mean(second * d2, -1)[..., None, :]
        by_products += 2 * (of_v2 - _products(first, d2))
    *positions, n1, n2 = by_products.shape
    (b1, size1), (b2, size2) = _blocks(n1), _blocks(n2)
    # A block is near where it is at any position.
    at_any = jnp.any(is_near, tuple(range(len(positions))))

    def by_differences(by_products: Array, *arrays: Array | None) -> Array:
        flags = _any_in_blocks(at_any)
        a, b, da, db = jax.tree.map(_in_blocks, arrays)
        made = _change_of_near(flags, (a, da), (b, db))
        # `[block, block, *positions, in block, in block]`.
        made = jnp.moveaxis(made, (0, 1), (-4, -2))
        made = made.reshape(*positions, b1 * size1, b2 * size2)[..., :n1, :n2]
        of_near = jnp.repeat(jnp.repeat(flags, size1, 0)[:n1], size2, 1)[:, :n2]
        return jnp.where(of_near, made, by_products)

    def unchanged(by_products: Array, *arrays: Array | None) -> Array:
        return by_products

    # Made again on the way back: what it keeps of all blocks would be zeros where none is near.
    arrays = by_products, first, second, d1, d2
    return lax.cond(jnp.any(at_any), recomputed(by_differences), unchanged, *arrays)


def _in_blocks(x: Array) -> Array:
    """`[*positions, image, channel]` as `[block, channel, *positions, in block]`."""
    *positions, n, channels = x.shape
    count, size = _blocks(n)
    pad = [(0, 0)] * len(positions) + [(0, count * size - n), (0, 0)]
    parts = jnp.pad(x, pad).reshape(*positions, count, size, channels)
    return jnp.moveaxis(parts, (-3, -1), (0, 1))


def _change_of_near(flags: Array, rows: Any, columns: Any) -> Array:
    """The change of D in near blocks, and zero in others: `[block, block, *positions, ...]`."""

    def of_block(row: Any, given: Any) -> tuple[Any, Array]:
        flag, column = given

        def full(row: Any, column: Any) -> Array:
            (a, da), (b, db) = row, column
            # At least one of them changes.
            changes = [da[..., :, None]] if da is not None else []
            changes += [-db[..., None, :]] if db is not None else []
            step = a[..., :, None] - b[..., None, :]
            return 2 * jnp.mean(step * sum(changes[1:], changes[0]), 0)

        def empty(row: Any, column: Any) -> Array:
            return jnp.zeros((*row[0].shape[1:], column[0].shape[-1]), row[0].dtype)

        return row, lax.cond(flag, full, empty, row, column)

    def of_row(carry: None, given: Any) -> tuple[None, Array]:
        of_columns, row = given
        # Differences of all pairs of all blocks would be far more than what they are made of.
        return carry, lax.scan(recomputed(of_block), row, (of_columns, columns))[1]

    return lax.scan(of_row, None, (flags, rows))[1]
