"""Files of long work are whole, and belong to one run."""

import numpy as np
import pytest

import checkpoints


def test_arrays_come_back_for_the_same_settings_alone(tmp_path):
    path, settings = tmp_path / "folder" / "state.npz", {"seed": 1, "rate": 0.1}
    assert checkpoints.read_arrays(path, settings) is None
    checkpoints.write_arrays(path, {"x": np.arange(3)}, settings)
    found = checkpoints.read_arrays(path, settings)
    assert found is not None
    assert found.keys() == {"x"}
    np.testing.assert_array_equal(found["x"], np.arange(3))
    with pytest.raises(SystemExit, match="seed was 1 and is 2 now, depth was None and is 3 now"):
        checkpoints.read_arrays(path, {"seed": 2, "rate": 0.1, "depth": 3})


def test_a_run_that_stops_while_it_writes_leaves_the_file_before(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    checkpoints.write_arrays(path, {"x": np.zeros(2)}, {})

    def stopped(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints.np, "savez", stopped)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.write_arrays(path, {"x": np.ones(2)}, {})
    found = checkpoints.read_arrays(path, {})
    assert found is not None
    np.testing.assert_array_equal(found["x"], np.zeros(2))
