"""Finite ensembles approach the infinite one."""

import numpy as np

import ensemble


def test_finite_networks_have_the_moments_of_infinite_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(ensemble, "TIMES", np.array([0.0, 10.0]))
    exact, sampled = ensemble.main(["--width", "128", "--networks", "60", "--out", str(tmp_path)])
    # Sixty draws know a mean to std / sqrt(60), and a width of 128 differs from an infinite one.
    size = exact.std[0].max()
    assert np.max(np.abs(sampled.mean - exact.mean)) < 0.4 * size
    assert np.max(np.abs(sampled.std - exact.std)) < 0.4 * size
    assert np.max(exact.std[1]) < 0.4 * size  # which the start is not
    x, y, test = ensemble.data()
    near = [int(np.argmin(np.abs(test - point))) for point in x[:, 0]]
    assert np.all(np.abs(exact.mean[1, near] - y[:, 0]) < np.abs(y[:, 0]) + 0.2)  # it learns
    assert (tmp_path / "ensemble.png").stat().st_size > 10_000
