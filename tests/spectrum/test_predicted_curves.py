"""Predicted learning curves against regressions on random features and on random subsets."""

import numpy as np
import pytest

from ntkjax.spectrum import Spectrum, learning_curve

RNG = np.random.default_rng(0)
MODES = 200
VALUES = 1 / np.arange(1, MODES + 1) ** 1.5
COEFFICIENTS = RNG.normal(size=MODES) / np.arange(1, MODES + 1)


@pytest.mark.parametrize(("ridge", "noise"), [(0.0, 0.0), (0.05, 0.0), (0.05, 0.3)])
def test_it_is_that_of_regression_on_gaussian_features(ridge, noise):
    """To 6 % in the mean of 300 draws of the training points."""
    sizes, draws = [10, 40, 120], 300
    curve = learning_curve(VALUES, COEFFICIENTS**2, sizes, ridge, noise)
    for k, n in enumerate(sizes):
        functions = RNG.normal(size=(draws, n, MODES))  # of the points of each draw
        features = functions * VALUES**0.5
        y = functions @ COEFFICIENTS + noise**0.5 * RNG.normal(size=(draws, n))
        matrix = features @ features.swapaxes(1, 2) + ridge * np.eye(n)
        weights = np.linalg.solve(matrix, y[..., None])
        said = VALUES**0.5 * (features.swapaxes(1, 2) @ weights)[..., 0]
        test = np.mean(np.sum((said - COEFFICIENTS) ** 2, axis=1)) + noise
        assert curve.test_mse[k] == pytest.approx(test, rel=0.06)
        # On training points the residual is ridge times the weights.
        train = np.mean((ridge * weights) ** 2)
        assert curve.train_mse[k] == pytest.approx(train, rel=0.06, abs=1e-20)


@pytest.mark.parametrize(("ridge", "noise"), [(0.5, 0.0), (0.5, 0.2)])
def test_it_is_that_of_subsets_of_a_population(ridge, noise):
    """To 6 %, for eigenvectors that know nothing of single points; the noise is in the targets."""
    count, sizes, draws = 100, [10, 50, 90], 200
    values = count * VALUES[:count]
    curve = learning_curve(values / count, COEFFICIENTS[:count] ** 2, sizes, ridge, noise, count)
    without_end = learning_curve(values / count, COEFFICIENTS[:count] ** 2, sizes, ridge, noise)
    errors = np.zeros((2, len(sizes)))
    for _ in range(draws):
        basis = np.linalg.qr(RNG.normal(size=(count, count)))[0]
        kernel = (basis * values) @ basis.T
        y = count**0.5 * basis @ (COEFFICIENTS[:count] * RNG.choice([-1, 1], count))
        y = y + noise**0.5 * RNG.normal(size=count)
        for k, n in enumerate(sizes):
            weights = np.linalg.solve(kernel[:n, :n] + ridge * np.eye(n), y[:n])
            errors[0, k] += np.mean((y[n:] - kernel[n:, :n] @ weights) ** 2) / draws
            errors[1, k] += np.mean((ridge * weights) ** 2) / draws
    np.testing.assert_allclose(curve.test_mse, errors[0], rtol=0.06)
    np.testing.assert_allclose(curve.train_mse, errors[1], rtol=0.06)
    if not noise:
        # What the formula for a population without end misses.
        assert without_end.test_mse[-1] < 0.85 * errors[0, -1]


@pytest.mark.parametrize("population", [None, 60, 1000])
def test_the_effective_ridge_solves_its_equation(population):
    for decay in (0.5, 3.0, 20.0):
        values = np.arange(1.0, 51.0) ** -decay
        for ridge in (0.0, 1e-12, 1.0, 1e12):
            sizes = np.array([[1, 7], [49, 60]])
            curve = learning_curve(values, values, sizes, ridge, population=population)
            for place in np.ndindex(2, 2):
                kappa, n = curve.effective_ridge[place], sizes[place]
                if ridge == 0 and n >= len(values):
                    assert kappa == 0
                    continue
                learned = values / (values + kappa)
                dimension = np.sum(learned)
                dead = 1 - dimension / population if population else 1.0
                assert dimension + ridge / kappa * dead == pytest.approx(n, rel=1e-9)
                np.testing.assert_allclose(curve.learnabilities[place], learned, rtol=1e-12)
                assert curve.effective_dimension[place] == pytest.approx(dimension, abs=1e-9)


def test_a_population_is_between_its_limits():
    """Of many points it is one without end; of as many as train, generalised cross-validation."""
    args = (VALUES, COEFFICIENTS**2, [5, 50], 0.01, 0.1)
    for one, other in zip(learning_curve(*args, 10**9), learning_curve(*args), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    x = RNG.normal(size=(30, 2))
    spectrum = Spectrum(np.exp(-np.sum((x[:, None] - x[None, :]) ** 2, axis=-1)))
    y = RNG.normal(size=30)
    for ridge in (0.0, 0.1):
        curve = spectrum.learning_curve(y, 30, ridge)
        gcv = spectrum.generalized_cross_validation(y, ridge)
        assert curve.test_mse == pytest.approx(gcv, rel=1e-6)


def test_ends_without_a_ridge():
    """As many points as modes, more, a kernel of zeros; never NaN."""
    curve = learning_curve([1.0, 0.1, 0.0], [0.5, 0.5, 0.1], [1, 2, 4])
    np.testing.assert_array_equal(np.isinf(curve.test_mse), [False, True, False])
    # The mode that the kernel lacks is noise to the others: n / (n - modes).
    assert curve.test_mse[2] == pytest.approx(0.1 * 4 / 2)
    assert learning_curve([1.0, 0.1], [0.5, 0.5], 2).test_mse == 0
    assert learning_curve([1.0, 0.1], [0.5, 0.5], 2, noise=0.1).test_mse == np.inf
    for ridge in (0.0, 1e-300, 1.0):
        zeros = learning_curve([0.0, 0.0], [0.5, 0.5], [1, 2, 3], ridge, 0.25)
        np.testing.assert_allclose(zeros.test_mse, 1.25)
        assert not np.any(np.isnan(zeros.train_mse))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: learning_curve([1.0], [1.0, 2.0], 1), r"power has shape \(2,\)"),
        (lambda: learning_curve([-1.0], [1.0], 1), "eigenvalues must be at least 0"),
        (lambda: learning_curve([1.0], [-1.0], 1), "power must be at least 0"),
        (lambda: learning_curve([np.nan], [1.0], 1), "eigenvalues must be finite"),
        (lambda: learning_curve([1.0], [1.0], 0), "sizes must be whole numbers of at least 1"),
        (lambda: learning_curve([1.0], [1.0], 1.5), "sizes must be whole numbers of at least 1"),
        (lambda: learning_curve([1.0], [1.0], 1, -1.0), "ridge must be at least 0"),
        (lambda: learning_curve([1.0], [1.0], 1, 1.0, -1.0), "noise must be finite and at least"),
        (lambda: learning_curve([1.0], [1.0], [1, 2], [1.0, 1.0, 1.0]), r"ridge has shape \(3,\)"),
        (lambda: learning_curve([1.0], [1.0], 9, population=8), "at most the 8 points"),
        (lambda: learning_curve([1.0, 1.0], [1.0, 1.0], 1, population=1), "population must be"),
    ],
)
def test_errors(call, match):
    with pytest.raises(ValueError, match=match):
        call()
