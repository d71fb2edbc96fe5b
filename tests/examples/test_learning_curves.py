"""Learning curves fall, and are those of the kernels that they name."""

import numpy as np

import learning_curves


def test_errors_fall_with_examples(tmp_path):
    found = learning_curves.main(
        [
            "--train-sizes",
            "16,64,256",
            "--test-size",
            "100",
            "--repeats",
            "2",
            "--out",
            str(tmp_path),
        ]
    )
    assert len(found) == 2 * len(learning_curves.DEPTHS)
    for errors in found.values():
        assert errors.shape == (2, 3)
        assert np.all(np.diff(errors.mean(axis=0)) < 0)
    own = f"NNGP, {learning_curves.TEACHER_DEPTH} hidden"
    # The teacher is a draw of this Gaussian process: no kernel knows more.
    assert all(found[own][:, -1].mean() < 1.1 * other[:, -1].mean() for other in found.values())
    assert (tmp_path / "learning_curves.png").stat().st_size > 10_000


def test_one_size_has_no_slope(tmp_path, capsys):
    arguments = [
        "--train-sizes",
        "8",
        "--test-size",
        "10",
        "--repeats",
        "1",
        "--out",
        str(tmp_path),
    ]
    found = learning_curves.main(arguments)
    assert {errors.shape for errors in found.values()} == {(1, 1)}
    said = capsys.readouterr().out
    assert "at n = 8" in said
    assert "n^" not in said
