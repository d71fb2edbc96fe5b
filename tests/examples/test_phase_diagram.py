"""Fixed points of deep networks against what is known of them."""

import numpy as np
import pytest

import phase_diagram


def test_order_and_chaos_of_erf():
    w_std, b_std = np.array([0.5, 2.5]), np.array([0.1, 0.3])
    found = phase_diagram.phases(w_std, b_std, 60)
    q = found.variance
    # E erf(u)^2 of Gaussians of variance q: Williams 1996, eq. 10.
    squared = 2 / np.pi * np.arcsin(2 * q / (1 + 2 * q))
    np.testing.assert_allclose(q, w_std**2 * squared + b_std[:, None] ** 2, rtol=1e-4)
    # Where c* = 1, c grows by w_std^2 E erf'(u)^2.
    slope = w_std[0] ** 2 * 4 / np.pi / np.sqrt(1 + 4 * q[:, 0])
    np.testing.assert_allclose(found.slope[:, 0], slope, rtol=2e-3)
    np.testing.assert_allclose(found.depth[:, 0], -1 / np.log(slope), rtol=1e-2)
    assert np.all(found.correlation[:, 0] > 0.999)  # order
    assert np.all(found.correlation[:, 1] < 0.6)  # chaos
    assert np.all((found.depth > 0) & (found.depth < 20))


def test_the_plot(tmp_path):
    phase_diagram.main(["--grid", "3", "--layers", "20", "--out", str(tmp_path)])
    assert (tmp_path / "phase_diagram.png").stat().st_size > 10_000


def test_one_point_is_no_diagram(capsys):
    with pytest.raises(SystemExit):
        phase_diagram.main(["--grid", "1"])
    assert "1 is too few points" in capsys.readouterr().err
