"""Forecasts of a seasonal series: the reader, the parts of the network, and the script."""

import importlib.util

import numpy as np
import pytest

import co2


@pytest.fixture
def file(tmp_path):
    """Twelve years of a rising series with a season, twice a month, with gaps."""
    rng = np.random.default_rng(0)
    lines = ["date,co2"]
    for month in range(12 * 12):
        t = (month + 0.5) / 12
        value = 320 + 1.2 * t + 0.02 * t**2 + 3 * np.sin(2 * np.pi * t) + 0.2 * rng.normal()
        year, of_year = 1970 + month // 12, month % 12 + 1
        lines.append(f"{year}{of_year:02}05,{value - 0.5:.2f}")
        lines.append(f"{year}-{of_year:02}-20,{value + 0.5:.2f}" if month % 7 else f"{year}0620,")
    path = tmp_path / "series.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_months_are_means_of_what_is_there(tmp_path):
    path = tmp_path / "some.csv"
    path.write_text("date,co2\n19580329,316.0\n19580405,317.0\n1958-04-12,318.0\n19580419,\n")
    series = co2.monthly(path)
    np.testing.assert_allclose(series.years, [1958 + 2.5 / 12, 1958 + 3.5 / 12])
    np.testing.assert_allclose(series.values, [316.0, 317.5])
    path.write_text("date,co2\n")
    with pytest.raises(SystemExit, match="no lines YYYYMMDD"):
        co2.monthly(path)


def test_the_bundled_series():
    if importlib.util.find_spec("statsmodels") is None:
        with pytest.raises(SystemExit, match="pip install statsmodels"):
            co2.bundled()
    else:
        series = co2.monthly(co2.bundled())
        assert 500 < len(series.values) <= 526
        assert 310 < series.values.min() < series.values.max() < 375


def test_the_season_repeats_and_the_trend_does_not():
    def covariance(t, **parts):
        parts = {**co2.START, **dict.fromkeys(("trend", "season", "irregular"), 1e-6), **parts}
        kernel_fn = co2.network(**parts)[2]
        return np.asarray(kernel_fn(co2.inputs(np.array([0.0, t]), 0.0), None, "nngp"))

    def correlation(*arguments, **parts):
        k = covariance(*arguments, **parts)
        return k[0, 1] / np.sqrt(k[0, 0] * k[1, 1])

    assert correlation(0.5, season=1.0) < 0.5 < 0.99 < correlation(1.0, season=1.0)
    assert correlation(1.0, trend=1.0) < correlation(0.5, trend=1.0)
    assert correlation(5.0, irregular=1.0) < correlation(0.5, irregular=1.0)


def test_the_script(file, tmp_path, capsys, monkeypatch):
    optimized = []
    # The start will do here, and compiling its derivatives takes longer than all else.
    monkeypatch.setattr(
        co2.gp.GaussianProcess, "optimize", lambda self: optimized.append(self) or self
    )
    found = co2.main(["--data", str(file), "--held-out", "3", "--out", str(tmp_path)])
    assert len(optimized) == 1
    error = {name: each["root mean squared error"] for name, each in found.items()}
    assert error[co2.NETWORK] < 1.0 < 2.0 < error[co2.BY_TIME]
    assert "The 36 months after" in capsys.readouterr().out
    assert (tmp_path / "co2.png").stat().st_size > 10_000


def test_all_years_cannot_be_held_out(file):
    with pytest.raises(SystemExit, match="--held-out 11 leaves 12 of 144"):
        co2.main(["--data", str(file), "--held-out", "11"])


def test_scores():
    said = co2.Forecast(np.zeros(4), np.full(4, 2.0))
    found = co2.scores(said, np.array([1.0, -1.0, 3.0, -4.0]))
    np.testing.assert_allclose(found["root mean squared error"], np.sqrt(27 / 4))
    assert found["share in 90 % intervals"] == 75
    density = -27 / 8 / 4 - np.log(2) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(found["log density of a month"], density)
