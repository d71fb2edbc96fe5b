"""Labels at the ends of lines do not overlap."""

import numpy as np
import pytest

from plots import spread


@pytest.mark.parametrize("positions", [[0, 100], [0, 1, 2], [0, 0, 0, 50, 51, 300], [5]])
def test_spread_keeps_order_and_distance(positions):
    placed = spread(np.array(positions, float), gap=10)
    assert len(placed) == len(positions)
    assert (np.diff(placed) >= 10 - 1e-9).all()


def test_spread_leaves_alone_what_does_not_overlap():
    np.testing.assert_allclose(spread(np.array([0.0, 30.0, 31.0]), gap=10), [0, 25.5, 35.5])
