"""Leave-one-out in closed form, and a choice that depends on the training part alone."""

import numpy as np
import pytest

from regression import RIDGES, Candidate, Method, choose, leave_one_out, one_hot, predict


def kernel_matrix(n=24, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, 3))
    return np.exp(-np.sum((x[:, None] - x) ** 2, axis=-1) / 2)


def of_matrix(matrix):
    return lambda rows, train: matrix[np.ix_(rows, train)]


def test_leave_one_out_is_leaving_one_out():
    kernel = kernel_matrix()
    targets = one_hot(np.arange(24) % 3, 3)
    ridges = (1e-3, 0.1, 1.0)
    closed_form = leave_one_out(kernel, targets, ridges)
    for ridge, predictions in zip(ridges, closed_form, strict=True):
        for i in range(24):
            rest = np.delete(np.arange(24), i)
            # The unit of the ridge is the mean diagonal of the whole kernel: here it is one.
            system = kernel[np.ix_(rest, rest)] + ridge * np.eye(23)
            expected = kernel[i, rest] @ np.linalg.solve(system, targets[rest])
            np.testing.assert_allclose(predictions[i], expected, rtol=1e-8, atol=1e-11)


def test_predictions_are_ridge_regression_with_the_chosen_ridge():
    kernel = 5 * kernel_matrix()
    labels = np.arange(24) % 3
    train, test = np.arange(16), np.arange(16, 24)
    method = Method("some", [Candidate("only", of_matrix(kernel))])
    choice = choose(method, train, labels[train], 3)
    assert choice.ridge in RIDGES
    system = kernel[:16, :16] + 5 * choice.ridge * np.eye(16)
    expected = kernel[16:, :16] @ np.linalg.solve(system, one_hot(labels[:16], 3))
    actual = predict(choice, train, labels[train], test, 3)
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-11)


def test_the_informative_candidate_is_chosen():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 60)
    good = np.eye(3)[labels] @ np.eye(3)[labels].T + 0.1 * np.eye(60)
    noise = rng.normal(size=(60, 60))
    method = Method(
        "some",
        [Candidate("noise", of_matrix(noise @ noise.T)), Candidate("labels", of_matrix(good))],
    )
    choice = choose(method, np.arange(60), labels, 3)
    assert choice.candidate.setting == "labels"
    assert choice.accuracy == 1.0


@pytest.mark.parametrize("part", ["rows", "columns"])
def test_the_choice_reads_no_entry_of_a_test_image(part):
    kernel = kernel_matrix()
    train = np.array([3, 5, 8, 9, 11, 20])
    others = np.setdiff1d(np.arange(24), train)
    if part == "rows":
        kernel[others] = np.nan
    else:
        kernel[:, others] = np.nan
    method = Method("some", [Candidate("only", of_matrix(kernel))])
    assert np.isfinite(choose(method, train, np.array([0, 1, 0, 1, 0, 1]), 2).accuracy)
