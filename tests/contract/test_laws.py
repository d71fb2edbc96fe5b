"""Every case obeys every law, and every public layer has a case."""

import pytest

from tests.contract import laws
from tests.contract.finite_width import finite_width_law
from tests.contract.registry import CASES

# One case after the other, so that the processes of pytest-xdist seldom compute one twice.
pytestmark = pytest.mark.parametrize(
    "case", CASES, ids=[case.name for case in CASES], scope="module"
)


def test_twin(case):
    if isinstance(case.twin, str):
        pytest.skip(f"no twin: {case.twin}")
    laws.twin_law(case)


@pytest.mark.parametrize("field", ["nngp", "ntk"])
def test_finite_networks_have_the_kernel_on_average(case, field):
    if not case.is_finite:
        pytest.skip("no finite network has this kernel")
    finite_width_law(case, field)


def test_corners(case):
    laws.corner_law(case)


def test_gradients_agree_with_finite_differences(case):
    laws.gradient_law(case)


def test_float32_agrees_with_float64(case):
    laws.float32_law(case)


def test_several_tiles_agree_with_one(case):
    laws.tiles_law(case)


def test_streamed_equals_stored(case):
    laws.stored_law(case)


def test_one_batch_is_the_same_batch_twice(case):
    laws.one_batch_law(case)


def test_symmetric_and_positive_semidefinite(case):
    laws.symmetry_law(case)


def test_variances_are_the_diagonal_of_all_pairs(case):
    laws.variance_law(case)


def test_points_are_the_diagonal_of_all_positions(case):
    laws.positions_law(case)


def test_vmap_agrees_with_plain(case):
    laws.vmap_law(case)


@pytest.mark.parametrize("n2", [None, 2], ids=["one batch", "two batches"])
def test_shapes_agree_with_the_finite_network(case, n2):
    laws.shape_law(case, n2)
