"""The three ways of the linearization example agree as far as they should."""

import numpy as np

import linearization


def test_a_wide_network_is_its_linearization(tmp_path):
    made = linearization.main(
        ["--width", "256", "--points", "6", "--steps", "100", "--out", str(tmp_path)]
    )
    network, weights, functions = (made[name] for name in linearization.COLOURS)
    moved = np.max(np.abs(functions[1][-1] - functions[1][0]))
    # Steps of a linear network are those of its outputs, but for the size of a step.
    assert np.max(np.abs(weights[1] - functions[1])) < 0.05 * moved
    assert np.max(np.abs(weights[1] - network[1])) < 0.2 * moved
    assert (tmp_path / "linearization.png").stat().st_size > 10_000
