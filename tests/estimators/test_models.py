"""Predictions are those of scikit-learn's models on the precomputed kernel, in float64."""

import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from ntkjax import stax
from ntkjax._jax_compat import double_precision
from ntkjax.sklearn import (
    NTKSVC,
    NNGPRegressor,
    NTKClassifier,
    NTKFeatures,
    NTKKernel,
    NTKRegressor,
)

rng = np.random.default_rng(0)
X, X_NEW = rng.normal(size=(40, 3)), rng.normal(size=(9, 3))
Y = np.stack([np.sin(X[:, 0]), X[:, 1] ** 2], axis=1)
LABELS = np.array(["a", "b", "c"])[np.digitize(X[:, 0] + 0.5 * X[:, 1], [-0.5, 0.5])]
OPTIONS = {"depth": 2, "activation": "erf", "W_std": 1.3, "b_std": 0.4}
_LAYERS = [stax.Dense(1, 1.3, 0.4), stax.Erf()] * 2
NETWORK = stax.serial(*_LAYERS, stax.Dense(1, 1.3, 0.4))


@pytest.fixture(autouse=True, params=[False, True], ids=["float32", "float64"])
def caller(request):
    """The caller's precision, which must not matter."""
    jax.config.update("jax_enable_x64", request.param)
    yield
    jax.config.update("jax_enable_x64", True)


@pytest.fixture(scope="module", params=["ntk", "nngp"])
def kernels(request):
    """Which kernel, of the fitted rows, and of new ones with them and each with itself."""
    with double_precision():
        whole = np.asarray(NETWORK.kernel_fn(np.concatenate([X, X_NEW]), None, request.param))
    return request.param, whole[:40, :40], whole[40:, :40], np.diagonal(whole)[40:]


def same(mine, theirs, tol=1e-10):
    assert mine.dtype == np.float64
    np.testing.assert_allclose(mine, theirs, rtol=tol, atol=tol)


def test_regression_is_kernel_ridge(kernels):
    get, K, K_new, _ = kernels
    weights = np.arange(len(X)) % 4.0
    for y, sample_weight in ((Y[:, 0], None), (Y, None), (Y, weights)):
        theirs = KernelRidge(alpha=0.3, kernel="precomputed").fit(K, y, sample_weight)
        for network in ({"network": NETWORK}, {"network": NETWORK.kernel_fn}, OPTIONS):
            mine = NTKRegressor(**network, kernel=get, alpha=0.3).fit(X, y, sample_weight)
            same(mine.predict(X_NEW), theirs.predict(K_new))
            same(mine.dual_coef_, theirs.dual_coef_)


def test_classification_is_ridge_on_labels(kernels):
    get, K, K_new, _ = kernels
    targets = np.where(LABELS[:, None] == np.unique(LABELS), 1.0, -1.0)
    mine = NTKClassifier(**OPTIONS, kernel=get, alpha=0.3).fit(X, LABELS)
    theirs = KernelRidge(alpha=0.3, kernel="precomputed").fit(K, targets).predict(K_new)
    same(mine.decision_function(X_NEW), theirs)
    assert list(mine.predict(X_NEW)) == list(np.unique(LABELS)[theirs.argmax(1)])
    # Two classes have one output; weights of classes are weights of their rows.
    of_classes, weights = {True: 3.0, False: 0.5}, np.linspace(0.1, 2.0, len(X))
    y = LABELS == "b"
    mine = NTKClassifier(**OPTIONS, kernel=get, alpha=0.3, class_weight=of_classes)
    theirs = KernelRidge(alpha=0.3, kernel="precomputed")
    theirs.fit(K, 2.0 * y - 1.0, weights * np.where(y, 3.0, 0.5))
    same(mine.fit(X, y, weights).decision_function(X_NEW), theirs.predict(K_new))
    balanced = NTKClassifier(**OPTIONS, kernel=get, alpha=0.3, class_weight="balanced").fit(X, y)
    theirs.fit(K, 2.0 * y - 1.0, len(y) / (2 * np.where(y, y.sum(), (~y).sum())))
    same(balanced.decision_function(X_NEW), theirs.predict(K_new))


def test_support_vectors_are_those_of_svc(kernels):
    get, K, K_new, _ = kernels
    for class_weight in (None, "balanced"):
        theirs = SVC(C=5.0, kernel="precomputed", class_weight=class_weight).fit(K, LABELS)
        mine = NTKSVC(**OPTIONS, kernel=get, C=5.0, class_weight=class_weight).fit(X, LABELS)
        # SVC stops when it is right to 1e-3, which is where rounding may show.
        np.testing.assert_array_equal(mine.support_, theirs.support_)
        same(mine.decision_function(X_NEW), theirs.decision_function(K_new), 1e-6)
        assert list(mine.predict(X_NEW)) == list(theirs.predict(K_new))


def test_features_have_the_kernel_for_inner_products(kernels):
    get, K, K_new, _ = kernels
    whole = NTKFeatures(None, **OPTIONS, kernel=get).fit(X)
    features, new = whole.transform(X), whole.transform(X_NEW)
    same(features @ features.T, K, 1e-7)
    same(new @ features.T, K_new, 1e-7)
    ridge = KernelRidge(alpha=0.3, kernel="precomputed").fit(K, Y)
    linear = make_pipeline(
        NTKFeatures(None, **OPTIONS, kernel=get), Ridge(0.3, fit_intercept=False)
    )
    same(linear.fit(X, Y).predict(X_NEW), ridge.predict(K_new), 1e-6)
    part = NTKFeatures(10, **OPTIONS, kernel=get, random_state=0).fit(X)
    assert part.transform(X).shape == (40, 10)
    rows = part.component_indices_
    same(part.transform(X) @ part.transform(X[rows]).T, K[:, rows], 1e-7)
    assert list(part.get_feature_names_out()[:2]) == ["ntkfeatures0", "ntkfeatures1"]


def test_a_gaussian_process_has_the_posterior(kernels):
    get, K, K_new, own = kernels
    A = K + 0.1 * np.eye(40)
    mean = K_new @ np.linalg.solve(A, Y)
    variance = own - np.sum(K_new * np.linalg.solve(A, K_new.T).T, axis=1)
    kernel = NTKKernel(**OPTIONS, kernel=get)
    theirs = GaussianProcessRegressor(kernel, alpha=0.1, optimizer=None).fit(X, Y)
    found, std = theirs.predict(X_NEW, return_std=True)
    same(found, mean, 1e-8)
    same(std[:, 0] ** 2, variance, 1e-8)
    if get == "nngp":
        model = NNGPRegressor(**OPTIONS, alpha=0.1).fit(X, Y)
        found, covariance = model.predict(X_NEW, return_cov=True)
        same(found, mean, 1e-8)
        same(np.diagonal(covariance[:, :, 0]), variance, 1e-8)
        assert model.sample_y(X_NEW[:2], 3).shape == (2, 2, 3)


def test_a_kernel_of_gaussian_processes(kernels):
    """Its derivatives equal finite differences; fixed hyperparameters are none."""
    get, K, K_new, own = kernels
    kernel = NTKKernel(**OPTIONS, kernel=get)
    same(kernel(X), K, 1e-12)
    same(kernel(X_NEW, X), K_new, 1e-12)
    same(kernel.diag(X_NEW), own, 1e-12)
    same(kernel.theta, np.log([1.3, 0.4]))
    same(kernel.bounds, np.log([[1e-2, 1e2]] * 2))
    value, gradient = kernel(X, eval_gradient=True)
    same(value, K, 1e-12)
    np.testing.assert_array_equal(gradient, gradient.swapaxes(0, 1))
    for k, step in enumerate(1e-5 * np.eye(2)):
        up, down = (kernel.clone_with_theta(kernel.theta + sign * step)(X) for sign in (1, -1))
        same(gradient[:, :, k], (up - down) / 2e-5, 1e-8)
    fixed = NTKKernel(**{**OPTIONS, "b_std": 0.0}, kernel=get)
    assert len(fixed.theta) == 1
    assert fixed(X, eval_gradient=True)[1].shape == (40, 40, 1)
    alone = NTKKernel(network=NETWORK, kernel=get)
    assert len(alone.theta) == 0
    assert alone(X, eval_gradient=True)[1].shape == (40, 40, 0)


def test_hyperparameters_are_found(kernels):
    get, *_ = kernels
    y = 2.0 + Y[:, 0] + 0.3 * np.random.default_rng(1).normal(size=40)
    kernel = NTKKernel(2, "erf", 5.0, 0.1, kernel=get) + WhiteKernel(0.1)
    model = GaussianProcessRegressor(kernel).fit(X, y)
    gained = model.log_marginal_likelihood() - model.log_marginal_likelihood(kernel.theta)
    assert gained > 5
    _, slope = model.log_marginal_likelihood(model.kernel_.theta, eval_gradient=True)
    inside = np.abs(model.kernel_.theta - model.kernel_.bounds.T).min(0) > 1e-6
    assert np.abs(slope[inside]).max() < 0.05


def test_images(kernels):
    """A convolutional network on rows that are images."""
    get, *_ = kernels
    digits, y = load_digits(return_X_y=True)
    digits, y = digits[:60] / 16.0, y[:60]
    network = stax.serial(
        stax.Conv(1, (3, 3), padding="SAME"), stax.Relu(), stax.GlobalAvgPool(), stax.Dense(1)
    )
    model = make_pipeline(
        StandardScaler(with_std=False),
        NTKClassifier(network=network, input_shape=(8, 8, 1), kernel=get, alpha=1e-4),
    )
    model.fit(digits[:50], y[:50])
    inputs = model[:-1].transform(digits).reshape(60, 8, 8, 1)
    with double_precision():
        K = np.asarray(network.kernel_fn(inputs, inputs[:50], get))
    targets = np.where(y[:50, None] == np.arange(10), 1.0, -1.0)
    scores = K[50:] @ np.linalg.solve(K[:50] + 1e-4 * np.eye(50), targets)
    same(model.decision_function(digits[50:]), scores, 1e-5)
