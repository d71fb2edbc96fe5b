"""Tests of how images and pairs share the lanes, against loops over diagonals and images."""

import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax._kernel.algebra.lanes import Lanes, diagonals_to_fill, filled, member_of
from ntkjax._kernel.algebra.sides import FIRST, SECOND

FIRSTS, SECONDS, DIAGONALS = 3, 2, 4
PAIRS = Lanes((FIRSTS, SECONDS), DIAGONALS)
RNG = np.random.default_rng(0)


def of_diagonals(count):
    """A map of two positions: (position, diagonal, image)."""
    return RNG.normal(size=(2, DIAGONALS, count))


def joined(array):
    return jnp.asarray(array.reshape(*array.shape[:-2], -1))


def test_pairs_see_both_images_on_each_diagonal():
    first, second = of_diagonals(FIRSTS), of_diagonals(SECONDS)
    seen1 = PAIRS.spread(PAIRS.apart(joined(first), FIRST, DIAGONALS), FIRST)
    seen2 = PAIRS.spread(PAIRS.apart(joined(second), SECOND, DIAGONALS), SECOND)
    got = seen1 + 2 * seen2
    assert got.shape == (2, FIRSTS, DIAGONALS * SECONDS)
    for d in range(DIAGONALS):
        expected = first[:, d, :, None] + 2 * second[:, d, None, :]
        np.testing.assert_allclose(member_of(got, d, DIAGONALS), expected, rtol=1e-6)


def test_of_a_first_image_pairs_see_alike_what_is_alike_on_all_diagonals():
    alike = jnp.asarray(RNG.normal(size=(2, FIRSTS)))
    seen = PAIRS.spread(PAIRS.apart(alike, FIRST, 1), FIRST)
    assert seen.shape == (2, FIRSTS, 1)
    each = PAIRS.apart(PAIRS.on_each(alike, FIRST), FIRST, DIAGONALS)
    for d in range(DIAGONALS):
        np.testing.assert_array_equal(each[:, d], alike)


def test_images_with_themselves_see_both_alike():
    lanes = Lanes((FIRSTS,), DIAGONALS)
    first = of_diagonals(FIRSTS)
    for side in (FIRST, SECOND):
        seen = lanes.spread(lanes.apart(joined(first), side, DIAGONALS), side)
        np.testing.assert_allclose(seen, joined(first), rtol=1e-6)
    alike = jnp.asarray(first[:, 0])
    seen = lanes.spread(lanes.apart(alike, FIRST, 1), FIRST)
    for d in range(DIAGONALS):
        np.testing.assert_array_equal(member_of(seen, d, DIAGONALS), alike)


@pytest.mark.parametrize(("side", "count"), [(FIRST, FIRSTS), (SECOND, SECONDS)])
def test_masks_are_those_of_the_diagonal_of_a_lane(side, count):
    mask = jnp.asarray(RNG.normal(size=(5, DIAGONALS)))
    masks = PAIRS.of_masks({3: (mask, None), 7: None, 8: None}, side)
    assert masks[7] is None
    for d in range(DIAGONALS):
        of_one = member_of(masks[3][0], d, DIAGONALS)
        np.testing.assert_array_equal(of_one, np.repeat(mask[:, d, None], count, 1))


def test_pairs_of_one_image_with_itself_on_some_diagonals():
    same = RNG.random((FIRSTS, SECONDS)) < 0.5
    got = PAIRS.of_same(jnp.asarray(same))
    for d in range(DIAGONALS):
        np.testing.assert_array_equal(member_of(got, d, DIAGONALS), same)


def test_one_diagonal_has_no_axis():
    lanes = Lanes((FIRSTS, SECONDS))
    first, second = jnp.ones((2, FIRSTS)), jnp.ones((2, SECONDS))
    assert lanes.spread(lanes.apart(first, FIRST, 1), FIRST).shape == (2, FIRSTS, 1)
    assert lanes.spread(lanes.apart(second, SECOND, 1), SECOND).shape == (2, 1, SECONDS)
    assert lanes.of_masks({0: first}, FIRST)[0] is first


@pytest.mark.parametrize("images", range(1, 70))
def test_lanes_fill_vectors(images):
    held = filled(images)
    assert images <= held <= max(2 * images - 1, images + 7)
    lanes = held * diagonals_to_fill(held)
    assert lanes >= 16
    assert lanes % 8 == 0 or held >= 32
    assert filled(held) == held
    if images < 32:
        assert images <= filled(images, diagonals_to_fill(images)) <= images + 1
