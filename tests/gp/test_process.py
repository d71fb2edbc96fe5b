"""Predictions of a process equal the textbook's and scikit-learn's, whatever its options."""

import jax
import numpy as np
import pytest
from gp_cases import RNG, X_TEST, X, Y, kernel, posterior, smooth
from sklearn.gaussian_process import GaussianProcessRegressor, kernels

from ntkjax import stax
from ntkjax._gp import covariance as covariance_module
from ntkjax.gp import GaussianProcess

NOISE = RNG.uniform(0.01, 0.3, size=30)
CLOSE = {"rtol": 1e-9, "atol": 1e-10}


def column(array):
    """The first output."""
    return array[:, 0]


@pytest.mark.parametrize("noise", [0.1, NOISE], ids=["number", "by points"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_it_equals_the_textbook(noise, outputs):
    y = Y if outputs == 2 else Y[:, :1]
    process = GaussianProcess(smooth(), noise).fit(X, y if outputs == 2 else column(y))
    mean, covariance = posterior(kernel(X, X), kernel(X_TEST, X), kernel(X_TEST, X_TEST), y, noise)
    got, joint = process.predict(X_TEST), process.predict(X_TEST, covariance=True)
    shape = (lambda a: a) if outputs == 2 else column
    for one in (got.mean, joint.mean):
        np.testing.assert_allclose(one, shape(mean), **CLOSE)
    variance = np.broadcast_to(np.diag(covariance)[:, None], mean.shape)
    np.testing.assert_allclose(got.variance, shape(variance), **CLOSE)
    np.testing.assert_allclose(got.std, np.sqrt(shape(variance)), **CLOSE)
    full = joint.covariance if outputs == 1 else joint.covariance[:, :, 1]
    np.testing.assert_allclose(full, covariance, **CLOSE)
    a = kernel(X, X) + np.diag(np.broadcast_to(noise, 30))
    value = sum(
        -0.5 * (r @ np.linalg.solve(a, r) + np.linalg.slogdet(2 * np.pi * a)[1]) for r in y.T
    )
    np.testing.assert_allclose(process.log_marginal_likelihood(), value, rtol=1e-11)
    np.testing.assert_allclose(process.log_marginal_likelihood({}), value, rtol=1e-11)


def test_it_equals_scikit_learn():
    """With the same kernel matrix of a network, to 1e-8."""
    kernel_fn = stax.serial(stax.Dense(1, 1.5, 0.3), stax.Relu(), stax.Dense(1)).kernel_fn

    class Network(kernels.Kernel):
        def __init__(self):
            pass

        def __call__(self, x, y=None, eval_gradient=False):
            return np.array(kernel_fn(x, y, "nngp"))

        def diag(self, x):
            return np.diag(self(x))

        def is_stationary(self):
            return False

    theirs = GaussianProcessRegressor(Network(), alpha=0.05, optimizer=None, normalize_y=True)
    theirs.fit(X, Y)
    ours = GaussianProcess(kernel_fn, 0.05, standardize_y=True).fit(X, Y)
    mean, covariance = theirs.predict(X_TEST, return_cov=True)
    got = ours.predict(X_TEST, covariance=True)
    np.testing.assert_allclose(got.mean, mean, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(got.covariance, covariance, rtol=1e-8, atol=1e-8)
    _, std = theirs.predict(X_TEST, return_std=True)
    np.testing.assert_allclose(ours.predict(X_TEST).std, std, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(
        ours.log_marginal_likelihood(), theirs.log_marginal_likelihood_value_, rtol=1e-8
    )


def test_leaving_one_out_equals_refitting():
    process = GaussianProcess(smooth(), NOISE, mean=2.0).fit(X, Y)
    got = process.leave_one_out()
    for i in (0, 17):
        others = np.arange(30) != i
        left = GaussianProcess(smooth(), NOISE[others], mean=2.0).fit(X[others], Y[others])
        mean, variance = left.predict(X[i : i + 1])
        np.testing.assert_allclose(got.mean[i], mean[0], **CLOSE)
        np.testing.assert_allclose(got.variance[i], variance[0] + NOISE[i], **CLOSE)


def test_standardized_and_means_are_those_of_data_prepared_by_hand():
    def mean(x):
        return 5 * x[:, 0]

    x, x_test, y = 100 + 7 * X, 100 + 7 * X_TEST, 40 * Y
    process = GaussianProcess(smooth(), 0.1, mean, standardize_x=True, standardize_y=True).fit(x, y)
    center, unit = x.mean(0), x.std(0)
    left = y - mean(x)[:, None]
    shift, scale = left.mean(0), left.std(0)
    by_hand = GaussianProcess(smooth(), 0.1).fit((x - center) / unit, (left - shift) / scale)
    want = map(np.asarray, by_hand.predict((x_test - center) / unit, noisy=True))
    want_mean, want_variance = want
    got = process.predict(x_test, noisy=True)
    np.testing.assert_allclose(
        got.mean, want_mean * scale + shift + mean(x_test)[:, None], rtol=1e-9
    )
    np.testing.assert_allclose(got.variance, want_variance * scale**2, rtol=1e-9)
    clean = process.predict(x_test).variance
    np.testing.assert_allclose(got.variance - clean, np.broadcast_to(0.1 * scale**2, (7, 2)))
    full = process.predict(x_test, covariance=True, noisy=True).covariance
    np.testing.assert_allclose(np.diagonal(full), got.variance.T, rtol=1e-9)


def test_channels_that_are_constant_are_no_trouble():
    x = np.concatenate([X, np.full((30, 1), 1e6)], axis=1)
    process = GaussianProcess(smooth(), 0.1, standardize_x=True, standardize_y=True)
    got = process.fit(x, np.full(30, 3.0)).predict(x[:2])
    np.testing.assert_allclose(got.mean, 3.0)


def test_updating_equals_fitting_all():
    first = GaussianProcess(smooth(), 0.1, mean=1.0).fit(X[:20], Y[:20])
    whole = GaussianProcess(smooth(), 0.1, mean=1.0).fit(X, Y)
    for updated in (
        first.update(X[20:], Y[20:]),
        first.update(X[20:23], Y[20:23]).update(X[23:], Y[23:]),
    ):
        for one, other in zip(updated.predict(X_TEST), whole.predict(X_TEST), strict=True):
            np.testing.assert_allclose(one, other, **CLOSE)
    by_points = np.array([*np.full(20, 0.1), *NOISE[20:]])
    updated = first.update(X[20:], Y[20:], NOISE[20:])
    whole = GaussianProcess(smooth(), by_points, mean=1.0).fit(X, Y)
    np.testing.assert_allclose(updated.predict(X_TEST).mean, whole.predict(X_TEST).mean, **CLOSE)
    np.testing.assert_array_equal(updated.noise, by_points)


def test_updating_by_points_that_are_there_already_is_exact():
    """The block that they add is zero but for rounding, so all is factorized again."""
    process = GaussianProcess(smooth()).fit(X[:5], Y[:5])
    again = process.update(X[2:4], Y[2:4])
    assert again.report().method != "cholesky"
    np.testing.assert_allclose(again.predict(X[:5]).mean, Y[:5], atol=1e-4)


def test_chunks_of_points_do_not_show(monkeypatch):
    process = GaussianProcess(smooth(), 0.1).fit(X, Y)
    whole = process.predict(X_TEST)
    monkeypatch.setattr(covariance_module, "CHUNK", 3)
    for one, other in zip(process.predict(X_TEST), whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_samples_have_the_moments_of_the_process():
    process = GaussianProcess(smooth(), 0.1, mean=1.0)
    fitted = process.fit(X, Y)
    count = 20000
    draws = {
        "unfitted": (process.sample(X_TEST, count), 1.0, kernel(X_TEST, X_TEST)),
        "prior": (fitted.sample(X_TEST, count, prior=True)[:, :, 0], 1.0, kernel(X_TEST, X_TEST)),
    }
    mean, covariance = fitted.predict(X_TEST, covariance=True)
    draws["posterior"] = fitted.sample(X_TEST, count)[:, :, 1], mean[:, 1], covariance[:, :, 1]
    for name, (drawn, mean, covariance) in draws.items():
        assert drawn.shape == (count, 7), name
        top = np.max(np.diag(covariance))
        error = np.sqrt(top / count)
        np.testing.assert_allclose(np.mean(drawn, 0), np.broadcast_to(mean, 7), atol=5 * error)
        np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.04 * top)
    one, same, other = (fitted.sample(X_TEST, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_samples_without_variance_are_the_data():
    """The posterior of points without noise is singular: it is mended, never NaN."""
    process = GaussianProcess(smooth()).fit(X[:8], Y[:8])
    np.testing.assert_allclose(process.sample(X[:8], 3)[1], Y[:8], atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ninety_percent_intervals_hold_ninety_percent(dtype):
    """Over 200 draws of the prior with noise, seen at 30 points and tested at 50 others."""
    points = np.random.default_rng(1).normal(size=(80, 2)).astype(dtype)
    process = GaussianProcess(smooth(0.7), 0.05)
    truth = np.asarray(process.sample(points, 200, seed=5)).T
    observed = truth + np.sqrt(0.05) * np.random.default_rng(2).normal(size=truth.shape)
    observed = observed.astype(dtype)
    mean, variance = process.fit(points[:30], observed[:30]).predict(points[30:], noisy=True)
    assert mean.dtype == dtype
    inside = np.abs(observed[30:] - mean) < 1.6449 * np.sqrt(variance)
    assert abs(np.mean(inside) - 0.9) < 0.03


def test_equal_points_are_reported():
    x = np.concatenate([X[:5], X[:5]])
    process = GaussianProcess(smooth()).fit(x, np.concatenate([Y[:5], Y[:5]]))
    assert process.report().method == "jitter"
    assert 0 < process.report().jitter < 1e-13
    np.testing.assert_allclose(process.predict(X[:5]).mean, Y[:5], atol=1e-4)
    assert GaussianProcess(smooth(), 0.1).fit(x[:5], Y[:5]).report().method == "cholesky"


def test_it_may_be_traced():
    """A whole regression within one program, with gradients by its inputs."""

    def mean_at(x_test, noise):
        return GaussianProcess(smooth(), noise).fit(X, Y).predict(x_test).mean.sum()

    value = GaussianProcess(smooth(), 0.1).fit(X, Y).predict(X_TEST).mean.sum()
    np.testing.assert_allclose(jax.jit(mean_at)(X_TEST, 0.1), value, rtol=1e-9)
    slope = jax.grad(mean_at, 1)(X_TEST, 0.1)
    ahead, behind = (mean_at(X_TEST, 0.1 + step) for step in (1e-5, -1e-5))
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-6)


def test_the_ntk_may_be_the_covariance():
    process = GaussianProcess(smooth(), 0.1, get="ntk").fit(X, Y)
    mean, _ = posterior(kernel(X, X) + 0.5, kernel(X_TEST, X) + 0.5, kernel(X_TEST, X_TEST), Y, 0.1)
    np.testing.assert_allclose(process.predict(X_TEST).mean, mean, **CLOSE)


def test_leaving_one_out_of_more_points_than_are_solved_for_together():
    x = np.random.default_rng(1).normal(size=(300, 2))
    y = np.sin(x[:, 0])
    found = GaussianProcess(smooth(), 0.1).fit(x, y).leave_one_out()
    inverse = np.linalg.inv(kernel(x, x) + 0.1 * np.eye(300))
    np.testing.assert_allclose(found.variance, 1 / np.diag(inverse), rtol=1e-9)
    np.testing.assert_allclose(found.mean, y - inverse @ y / np.diag(inverse), atol=1e-9)
