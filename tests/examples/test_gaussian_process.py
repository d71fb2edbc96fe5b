"""The plot of a fitted Gaussian process."""

import gaussian_process


def test_the_plot(tmp_path):
    fitted = gaussian_process.main(["--points", "25", "--out", str(tmp_path)])
    # The data have a noise of variance 0.15^2.
    assert 0.01 < fitted.noise < 0.05
    assert fitted.history[0][-1] > fitted.history[0][0] + 5
    assert (tmp_path / "gaussian_process.png").stat().st_size > 10_000
