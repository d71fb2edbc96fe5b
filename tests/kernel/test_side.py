"""Tests of how pairs see the maps of their two images, against NumPy's cyclic indexing."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax._kernel.algebra.diagonals import Diagonals, rings
from ntkjax._kernel.algebra.sides import FIRST, SECOND, Row

PERIODS = (4, 6)
GRID = Diagonals((4, 5), PERIODS, ((0, 1, 3), (0, 2, 5)))
IMAGE_MAP = np.arange(4 * 6 * 3.0).reshape(4, 6, 3)


def cyclic(array, starts, lengths):
    """Entries from `starts` on, along the first axes, around as often as need be."""
    for axis, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        places = np.arange(start, start + length)
        array = np.take(array, places, axis=axis, mode="wrap")
    return array


@pytest.mark.parametrize("lengths", [(4, 6), (2, 1), (5, 9), (13, 6)])
@pytest.mark.parametrize("starts", [(0, 0), (3, 0), (1, 5)])
@pytest.mark.parametrize("traced", list(itertools.product([False, True], repeat=2)))
def test_rings_go_around(starts, lengths, traced):
    def fn(some):
        given = (
            t if is_traced else s for s, t, is_traced in zip(starts, some, traced, strict=True)
        )
        return rings(jnp.asarray(IMAGE_MAP), tuple(given), lengths)

    np.testing.assert_array_equal(jax.jit(fn)(starts), cyclic(IMAGE_MAP, starts, lengths))


@pytest.mark.parametrize("halo", [((0, 0), (0, 0)), ((1, 1), (2, 0)), ((0, 5), (7, 1))])
@pytest.mark.parametrize("side", [FIRST, SECOND])
def test_pairs_see_a_map_at_the_displacements_of_their_row(side, halo):
    lengths = [low + n + high for n, (low, high) in zip(PERIODS, halo, strict=True)]

    def expected(shift):
        own = shift if side.is_second else (0, 0)
        starts = [d - low for d, (low, _) in zip(own, halo, strict=True)]
        return cyclic(IMAGE_MAP, starts, lengths)

    def seen(shift):
        row = Row(GRID, tuple(shift))
        return side.see(side.laid_out(jnp.asarray(IMAGE_MAP), row, halo), row, halo)

    shifts = [(0, 0), (3, 5), (1, 2), (0, 5)]
    for shift in shifts:
        np.testing.assert_array_equal(seen(shift), expected(shift))
        np.testing.assert_array_equal(jax.jit(seen)(shift), expected(shift))
    together = jax.jit(seen)(jnp.asarray(shifts).T)
    of_each = map(expected, shifts if side.is_second else shifts[:1])
    np.testing.assert_array_equal(together, np.concatenate(list(of_each), -1))


def test_a_map_with_axes_in_front_is_seen_along_those_of_positions():
    row, halo = Row(GRID, (jnp.asarray(3), jnp.asarray(5))), ((1, 0), (0, 2))
    stacked = jnp.stack([jnp.asarray(IMAGE_MAP), -jnp.asarray(IMAGE_MAP)])
    seen = SECOND.see(SECOND.laid_out(stacked, row, halo, 1), row, halo, 1)
    alone = SECOND.see(SECOND.laid_out(stacked[1], row, halo), row, halo)
    np.testing.assert_array_equal(seen[1], alone)
