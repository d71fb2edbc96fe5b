"""Cyclic diagonals hold every pair of positions, whatever their period."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax._kernel.algebra.diagonals import Diagonals, from_matrix, live_rows, to_matrix


def geometry(sizes, periods):
    return Diagonals(sizes, periods, ((),) * len(sizes)).all()


@pytest.mark.parametrize(
    ("sizes", "periods"),
    [
        ((1,), (1,)),
        ((4,), (4,)),
        ((4,), (5,)),
        ((4,), (7,)),
        ((3,), (12,)),
        ((2, 3), (2, 3)),
        ((2, 3), (4, 3)),
        ((2, 1, 3), (3, 2, 4)),
        ((), ()),
    ],
)
def test_matrix_there_and_back(sizes, periods):
    diagonals = geometry(sizes, periods)
    positions = tuple(n for size in sizes for n in (size, size))
    matrix = np.random.default_rng(0).normal(size=(2, 3, *positions))
    rows = from_matrix(jnp.asarray(matrix), diagonals)
    assert rows.shape == (diagonals.count, *periods, 2, 3)
    np.testing.assert_array_equal(to_matrix(rows, diagonals), matrix)


def test_a_row_holds_the_pairs_of_one_displacement():
    diagonals = geometry((4,), (6,))
    matrix = np.arange(16.0).reshape(4, 4)
    rows = from_matrix(jnp.asarray(matrix), diagonals)
    for (d,), row in zip(diagonals.displacements(), rows, strict=True):
        live = diagonals.live(0, d)
        for p in range(6):
            q = (p + d) % 6
            assert live[p] == (p < 4 and q < 4)
            if live[p]:
                assert row[p] == matrix[p, q]


@pytest.mark.parametrize(("size", "period"), [(1, 1), (3, 3), (3, 4), (3, 5), (3, 9)])
def test_live_rows_are_those_of_some_pair(size, period):
    pairs = itertools.product(range(size), repeat=2)
    assert live_rows(size, period) == tuple(sorted({(q - p) % period for p, q in pairs}))


def test_zero_all_and_union():
    some = Diagonals((3, 2), (3, 2), ((0, 1), (1,)))
    assert some.count == 2
    assert some.zero().rows == ((0,), (0,))
    assert some.all().rows == ((0, 1, 2), (0, 1))
    assert some.union(some.zero()).rows == ((0, 1), (0, 1))
