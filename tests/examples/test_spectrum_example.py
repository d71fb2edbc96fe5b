"""Predicted learning curves lie near the measured ones, and training stops before its end."""

import numpy as np

import spectrum


def test_predictions_are_near_measurements(tmp_path, capsys):
    found = spectrum.main(
        ["--images", "300", "--train-sizes", "20,60,150", "--repeats", "4", "--out", str(tmp_path)]
    )
    assert len(found) == 3
    for curve, errors in found.values():
        assert errors.shape == (4, 3)
        np.testing.assert_allclose(curve.test_mse, errors.mean(axis=0), rtol=0.25)
    assert "stop after" in capsys.readouterr().out
    assert (tmp_path / "spectrum.png").stat().st_size > 10_000
