"""The NNGP of the training points in the basis of the modes of their training kernel.

The covariance of an ensemble in training takes the prior P = V' K V between weights W of modes at
each time, as W' P W. P is symmetric: a lower triangle S with half the diagonal is made, P = S + S',
and W' S W is added to its transpose. S is cut into bands of rows. With two bands of the modes 1 and
2,

    S = [ P11 / 2     .    ]
        [ P21      P22 / 2 ],

so that a quarter of the products is left out. Of many bands it is nearly half.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._solve.symmetric import highest

#: Modes in a band of a large matrix, below which products are not worth cutting, and most bands.
_BAND, _MOST = 256, 8


def lower_bands(prior: Array, vectors: Array) -> tuple[Array, ...]:
    """The bands of S, each `[modes of the band, modes up to its last]`."""
    # A program for each of them, so that what one needs on the way is gone before the next.
    return tuple(_band(prior, vectors, *ends) for ends in _bands(len(vectors)))


@partial(jax.jit, static_argnums=(2, 3))
def _band(prior: Array, vectors: Array, begin: int, end: int) -> Array:
    here = highest(highest(prior, vectors[:, begin:end]).T, vectors[:, :end])
    halves = jnp.where(jnp.arange(end) < begin, 1, jnp.asarray(0.5, here.dtype))
    return here * halves[None, :]


def between(bands: tuple[Array, ...], weights: Array) -> Array:
    """W' P W of weights `[modes, points]`."""
    half = sum(
        highest(weights[begin:end].T, highest(band, weights[:end]))
        for band, (begin, end) in zip(bands, _bands(len(weights)), strict=True)
    )
    return jnp.asarray(half) + jnp.asarray(half).T


def _bands(count: int) -> list[tuple[int, int]]:
    """Where the bands of so many modes begin and end."""
    number = min(_MOST, max(1, count // _BAND))
    ends = [count * (i + 1) // number for i in range(number)]
    return list(zip([0, *ends], ends, strict=False))
