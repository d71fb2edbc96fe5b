"""What scikit-learn's users bring: frames, sparse rows, pickles, workers, and mistakes."""

import pickle
import subprocess
import sys

import jax.numpy as jnp
import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from ntkjax import stax
from ntkjax.sklearn import (
    NTKSVC,
    NNGPRegressor,
    NTKClassifier,
    NTKFeatures,
    NTKKernel,
    NTKRegressor,
    kernel_cache,
)

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(20, 3)), rng.normal(size=20)
LABELS = (X[:, 0] > 0).astype(int)
NETWORK = stax.serial(stax.Dense(8, 1.2, 0.3), stax.Erf(), stax.Dense(1))
ALL = (NTKRegressor, NTKClassifier, NTKSVC, NNGPRegressor, NTKFeatures)


def answer(model, rows):
    """Numbers that a model gives for rows."""
    for name in ("decision_function", "predict", "transform"):
        if hasattr(model, name):
            return getattr(model, name)(rows)
    raise AssertionError(model)


def targets_of(kind):
    return LABELS if kind in (NTKClassifier, NTKSVC) else Y


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_copies_pickles_and_sparse_rows(kind):
    options = {"random_state": 0} if kind is NTKFeatures else {}
    for changes in ({"depth": 1}, {"network": NETWORK}, {"depth": 1, "activation": stax.Relu()}):
        model = kind(**options, **changes).fit(X, targets_of(kind))
        expected = answer(model, X[:5])
        before = kernel_cache.pairs
        copies = [clone(model).fit(X, targets_of(kind))]
        copies += [pickle.loads(pickle.dumps(model))]
        copies += [clone(copies[1]).fit(X, targets_of(kind))]
        copies += [clone(model).fit(sparse.csr_matrix(X), targets_of(kind))]
        for copy in copies:
            np.testing.assert_array_equal(answer(copy, sparse.csr_array(X[:5])), expected)
        assert kernel_cache.pairs == before  # a copy of a network is the network
        # Parameters that are set later are those of the next fit.
        model.set_params(W_std=3.0, network=None, depth=3)
        np.testing.assert_array_equal(answer(model, X[:5]), expected)


def test_names_of_features():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    for kind in ALL:
        model = kind(depth=1).fit(frame, targets_of(kind))
        assert list(model.feature_names_in_) == ["a", "b", "c"]
        with pytest.raises(ValueError, match="feature names should match"):
            answer(model, frame[["b", "a", "c"]])
    features = NTKFeatures(4, depth=1).set_output(transform="pandas").fit_transform(frame)
    assert list(features.columns) == [f"ntkfeatures{k}" for k in range(4)]


def test_activations_and_networks_in_a_grid():
    grid = {"activation": ["relu", stax.Erf(), "erf"], "depth": [1], "alpha": [0.1, 1.0]}
    search = GridSearchCV(NTKRegressor(), grid, cv=3).fit(X, Y)
    scores = search.cv_results_["mean_test_score"].reshape(3, 2)
    np.testing.assert_array_equal(scores[1], scores[2])
    assert kernel_cache.pairs == 2 * 210
    networks = {"network": [NETWORK, NETWORK.kernel_fn, None]}
    assert np.isfinite(GridSearchCV(NTKSVC(), networks, cv=3).fit(X, LABELS).best_score_)


def test_workers_that_are_threads():
    alone = cross_val_score(NTKRegressor(depth=1), X, Y, cv=4)
    kernel_cache.clear()
    with joblib.parallel_config("threading"):
        together = cross_val_score(NTKRegressor(depth=1), X, Y, cv=4, n_jobs=2)
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    assert kernel_cache.pairs == 210


def test_a_kernel_function_of_ones_own():
    def linear(x1, x2, get):
        return x1 @ (x1 if x2 is None else x2).T + 1.0

    model = NTKRegressor(network=linear, alpha=0.5).fit(X, Y)
    K = X @ X.T + 1.0
    expected = (X[:5] @ X.T + 1.0) @ np.linalg.solve(K + 0.5 * np.eye(20), Y)
    np.testing.assert_allclose(model.predict(X[:5]), expected, rtol=1e-10)


def indefinite(x1, x2, get):
    return -(x1 @ x2.T)


def asymmetric(x1, x2, get):
    return x1[:, :1] + 2 * x2[:, 0]


def infinite(x1, x2, get):
    return jnp.full((len(x1), len(x2)), jnp.inf)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 0}, "depth=0, expected a number of hidden layers"),
        ({"depth": 1.5}, "depth=1.5"),
        ({"activation": "rleu"}, "activation='rleu' is unknown; there are abs, cos"),
        ({"activation": 3}, "activation=3, expected a name"),
        ({"W_std": 0.0}, "W_std=0.0, expected a finite number above 0"),
        ({"b_std": -1.0}, "b_std=-1.0, expected a finite number of at least 0"),
        ({"b_std": float("nan")}, "b_std=nan"),
        ({"kernel": "both"}, "kernel='both', expected 'ntk' or 'nngp'"),
        ({"alpha": -0.1}, "alpha=-0.1, expected a finite number of at least 0"),
        ({"network": "conv"}, "network='conv', expected a triple"),
        ({"network": NETWORK, "input_shape": (2, 2)}, r"input_shape=\(2, 2\) has 4 numbers"),
        ({"network": NETWORK, "input_shape": 3}, "input_shape=3, expected the shape"),
        ({"input_shape": (3,)}, "without a network"),
        ({"network": stax.serial(stax.Dense(1), stax.LayerNorm((0, -1)))}, "mixes the examples"),
        ({"network": stax.serial(stax.Dense(1), stax.Dropout(0.5))}, "draws numbers for each"),
        ({"network": indefinite}, "is indefinite.*pass alpha of at least"),
        ({"network": asymmetric}, "not symmetric"),
        ({"network": infinite}, "is not finite"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else None,
)
def test_parameters_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        NTKRegressor(**{"depth": 1, **changes}).fit(X, Y)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_data_out_of_range(kind):
    model, y = kind(depth=1), targets_of(kind)
    bad = X.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        model.fit(bad, y)
    with pytest.raises(ValueError, match="0 sample"):
        model.fit(X[:0], y[:0])
    model.fit(X, y)
    with pytest.raises(ValueError, match="contains infinity"):
        answer(model, np.where(np.isnan(bad), np.inf, bad))
    if kind is not NTKFeatures:
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            model.fit(X, y[:-1])


def test_what_single_models_refuse():
    for kind in (NTKClassifier, NTKSVC):
        with pytest.raises(ValueError, match="one class only"):
            kind(depth=1).fit(X, np.zeros(20))
    with pytest.raises(ValueError, match=r"C=0.0, expected a finite number above 0"):
        NTKSVC(depth=1, C=0.0).fit(X, LABELS)
    with pytest.raises(ValueError, match=r"alpha=-1.0, expected a finite number above 0"):
        NNGPRegressor(depth=1, alpha=np.array([0.1] * 19 + [-1.0])).fit(X, Y)
    with pytest.raises(ValueError, match=r"n_components=0, expected a number of rows"):
        NTKFeatures(0).fit(X)
    with pytest.raises(ValueError, match="Negative values in data"):
        NTKRegressor(depth=1).fit(X, Y, -np.ones(20))
    for kind in (NTKSVC, NTKFeatures):
        with pytest.raises(ValueError, match="the kernel of the network is indefinite"):
            kind(network=indefinite).fit(X, LABELS)
    for kind in (NTKRegressor, NTKSVC):
        with pytest.raises(ValueError, match=r"its ntk of 128 and 128 rows is None, expected num"):
            kind(network=lambda *arguments: None).fit(X, LABELS)
    for kind, weights in ((NTKClassifier, {0: -1.0, 1: 1.0}), (NTKSVC, {0: np.nan, 1: 1.0})):
        with pytest.raises(ValueError, match=r"class_weight\[0\]=(-1.0|nan), expected a finite"):
            kind(depth=1, class_weight=weights).fit(X, LABELS)
    with pytest.raises(ValueError, match="one class only"):
        NTKClassifier(depth=1, class_weight={0: 0.0, 1: 1.0}).fit(X, LABELS)
    with pytest.raises(ValueError, match=r"alpha has shape \(20, 1\), expected one number or"):
        NNGPRegressor(depth=1, alpha=np.ones((20, 1))).fit(X, Y)
    with pytest.raises(ValueError, match=r"W_std_bounds=\(2, 1\), expected two positive numbers"):
        _ = NTKKernel(depth=1, W_std_bounds=(2, 1)).theta
    with pytest.raises(ValueError, match=r"rows have shape \(20, 1\), expected \(n, "):
        NTKKernel(depth=1)(X, X[:, :1])
    with pytest.raises(ValueError, match="leave Y out"):
        NTKKernel(depth=1)(X, X, eval_gradient=True)


def test_equal_rows_without_a_ridge():
    """The matrix is singular; the smallest function that fits best is found."""
    rows, y = np.concatenate([X, X[:5]]), np.concatenate([Y, Y[:5] + 1.0])
    model = NTKRegressor(depth=1, alpha=0.0).fit(rows, y)
    fitted = np.where(np.arange(20) < 5, Y + 0.5, Y)
    np.testing.assert_allclose(model.predict(X), fitted, atol=1e-6)


def test_without_scikit_learn():
    code = "import importlib.util, ntkjax\nfind = importlib.util.find_spec\n"
    code += "importlib.util.find_spec = lambda name: None if name == 'sklearn' else find(name)\n"
    code += "import ntkjax.sklearn"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert made.returncode == 1
    assert "ImportError: ntkjax.sklearn needs scikit-learn" in made.stderr
    assert "pip install 'ntkjax[sklearn]'" in made.stderr
