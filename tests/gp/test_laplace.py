"""Laplace's approximation: the mode, the evidence and its gradients, and what it approximates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gp_cases import X_TEST, X, kernel, smooth
from scipy.special import log_softmax, logsumexp
from sklearn.gaussian_process import GaussianProcessClassifier as Theirs
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from ntkjax._gp.laplace import mode_of
from ntkjax._gp.logistic import expected_sigmoid, logistic
from ntkjax._gp.softmax import softmax
from ntkjax.gp import GaussianProcessClassifier, NotPositiveDefiniteError

TWO = (X[:, 0] + 0.5 * X[:, 1] > 0).astype(int)
THREE = TWO + (X[:, 1] > 0.5)
NUMBERS = {"length": 1.5, "std": 2.0}


def fitted(labels, **numbers):
    params = {**NUMBERS, **numbers}
    return GaussianProcessClassifier(smooth, "laplace", params=params).fit(X, labels)


def test_two_classes_equal_scikit_learn():
    theirs = Theirs(ConstantKernel(4.0) * RBF(1.5), optimizer=None).fit(X, TWO)
    ours = fitted(TWO)
    got = ours.log_marginal_likelihood()
    np.testing.assert_allclose(got, theirs.log_marginal_likelihood_value_, rtol=1e-9)
    mode = theirs.base_estimator_.pi_
    np.testing.assert_allclose(ours._learned.mode.slope, TWO - mode, atol=1e-6)
    # Their integral of the logistic function is a sum of five error functions fitted to it.
    probabilities = ours.predict_proba(X_TEST)
    np.testing.assert_allclose(probabilities, theirs.predict_proba(X_TEST), atol=1e-4)
    np.testing.assert_array_equal(ours.predict(X_TEST), theirs.predict(X_TEST))


def test_the_mean_of_the_logistic_function_is_exact():
    mean = np.array([0.0, -7.0, 0.3, 2.0, -1.5, 4.0, 25.0])
    for std in (0.0, 1e-3, 0.5, 0.999, 1.001, 3.0, 6.0):
        got = expected_sigmoid(jnp.asarray(mean), jnp.full(7, std**2))
        if std == 0:
            want = 1 / (1 + np.exp(-mean))
        else:
            z = np.linspace(-9, 9, 20001)
            weights = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
            want = (1 / (1 + np.exp(-(mean[:, None] + std * z)))) @ weights
        np.testing.assert_allclose(got, want, atol=1e-12)


def test_two_classes_are_one_function_or_two():
    """Of two functions of covariance K the difference has covariance 2 K."""
    k, cross, prior = kernel(X, X), kernel(X_TEST, X), np.full(7, 1.3**2)
    one_hot = np.eye(2)[TWO]
    start = jnp.zeros((1, len(X))), jnp.zeros((2, len(X)))
    one = logistic(jnp.asarray(2 * k), jnp.asarray(one_hot), start[0])
    two = softmax(jnp.asarray(k), jnp.asarray(one_hot), start[1])
    np.testing.assert_allclose(two.log_evidence, one.log_evidence, rtol=1e-10)
    mean, variance = one.latent(2 * cross, 2 * prior)
    means, covariance = two.latent(jnp.asarray(cross), jnp.asarray(prior))
    np.testing.assert_allclose(means[:, 1] - means[:, 0], mean, rtol=1e-8)
    apart = covariance[:, 0, 0] + covariance[:, 1, 1] - 2 * covariance[:, 0, 1]
    np.testing.assert_allclose(apart, variance, rtol=1e-8)


def test_several_classes_equal_the_formulas_of_all_points_and_classes_at_once():
    n, classes = len(X), 3
    k, cross, y = kernel(X, X), kernel(X_TEST, X), np.eye(3)[THREE]
    mode = mode_of(jnp.asarray(k), jnp.asarray(y))
    f = np.asarray(mode.values)
    p = np.exp(log_softmax(f, axis=0))
    np.testing.assert_allclose(f, (y.T - p) @ k, atol=1e-9)
    whole = np.kron(np.eye(classes), k)
    stacked = np.concatenate([np.diag(part) for part in p])
    curvature = np.diag(p.ravel()) - stacked @ stacked.T
    log_det = np.linalg.slogdet(np.eye(n * classes) + whole @ curvature)[1]
    value = np.sum(y.T * log_softmax(f, axis=0)) - 0.5 * np.sum((y.T - p) * f)
    np.testing.assert_allclose(mode.log_evidence, value - 0.5 * log_det, rtol=1e-10)
    mean, covariance = mode.latent(jnp.asarray(cross), jnp.full(7, 1.3**2))
    np.testing.assert_allclose(mean, cross @ (y.T - p).T, atol=1e-9)
    for i in range(7):
        across = np.kron(np.eye(classes), cross[i])
        inner = curvature @ np.linalg.inv(np.eye(n * classes) + whole @ curvature)
        want = 1.3**2 * np.eye(classes) - across @ inner @ across.T
        np.testing.assert_allclose(covariance[i], want, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_it_approximates_what_sampling_says(classes):
    """Labels of four points: evidence and probabilities by importance sampling of the prior."""
    labels = np.array([0, 1, classes - 1, 1])
    x, at = X[:4], X[4:6]
    model = GaussianProcessClassifier(smooth(1.5, 1.0), "laplace").fit(x, labels)
    k = kernel(np.concatenate([x, at]), np.concatenate([x, at]), length=1.5, std=1.0)
    functions = 1 if classes == 2 else classes
    normal = np.random.default_rng(0).normal(size=(200_000, functions, 6))
    drawn = normal @ np.linalg.cholesky(k + 1e-10 * np.eye(6)).T
    if classes == 2:
        drawn = np.concatenate([np.zeros_like(drawn), drawn], axis=1)
    log_p = log_softmax(drawn, axis=1)
    seen = log_p[:, labels, np.arange(4)].sum(1)
    evidence = logsumexp(seen) - np.log(len(seen))
    np.testing.assert_allclose(model.log_marginal_likelihood(), evidence, atol=0.08)
    weights = np.exp(seen - logsumexp(seen))
    want = np.einsum("s,scm->mc", weights, np.exp(log_p[:, :, 4:]))
    np.testing.assert_allclose(model.predict_proba(at, draws=20_000), want, atol=0.03)


@pytest.mark.parametrize("labels", [TWO, THREE], ids=["two classes", "three classes"])
def test_gradients_of_the_evidence_equal_finite_differences(labels):
    model = fitted(labels)
    value = jax.jit(model.log_marginal_likelihood)
    np.testing.assert_allclose(value({}), model.log_marginal_likelihood(), rtol=1e-10)
    slopes = jax.jit(jax.grad(model.log_marginal_likelihood))(NUMBERS)
    for name, slope in slopes.items():
        ahead, behind = (value({**NUMBERS, name: NUMBERS[name] + s}) for s in (1e-5, -1e-5))
        np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-6)


@pytest.mark.parametrize("labels", [TWO, THREE], ids=["two classes", "three classes"])
def test_kernels_in_float32_keep_their_digits(labels):
    """Of variances that leave float32 none of the curvature; without float64 in JAX."""
    params = {"length": 1.0, "std": 1e3}
    wide = GaussianProcessClassifier(smooth, "laplace", params=params).fit(X, labels)
    slope = jax.grad(wide.log_marginal_likelihood)(params)["std"]
    with jax.enable_x64(False):
        x, at = X.astype(np.float32), X_TEST.astype(np.float32)
        model = GaussianProcessClassifier(smooth, "laplace", params=params).fit(x, labels)
        found, evidence = model.predict_proba(at, 20_000), model.log_marginal_likelihood()
        narrow = jax.jit(jax.grad(model.log_marginal_likelihood))(params)["std"]
    assert found.dtype == evidence.dtype == narrow.dtype == np.float32
    np.testing.assert_allclose(evidence, wide.log_marginal_likelihood(), rtol=1e-4)
    np.testing.assert_allclose(found, wide.predict_proba(X_TEST, 20_000), atol=0.02)
    np.testing.assert_allclose(narrow, slope, rtol=0.05)


def test_a_mode_that_rounding_hides_is_refused():
    with pytest.raises(ValueError, match="the mode of the posterior was not found"):
        fitted(THREE, length=1.0, std=1e7)


def test_a_kernel_that_is_none_is_refused():
    model = GaussianProcessClassifier(lambda a, b, get: smooth()(a, b, get) - 1.0, "laplace")
    with pytest.raises(NotPositiveDefiniteError, match=r"kernel_fn\(x\) is not positive definite"):
        model.fit(X, TWO)
