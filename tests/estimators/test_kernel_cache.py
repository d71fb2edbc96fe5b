"""Each pair of rows is computed once, and what comes out is the kernel."""

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit, cross_val_score
from sklearn.svm import SVC

from ntkjax import stax
from ntkjax._sklearn import evaluation
from ntkjax._sklearn.architecture import Parameters, recipe_of
from ntkjax._sklearn.cache import KernelCache
from ntkjax.sklearn import NTKSVC, NTKRegressor, kernel_cache


def network(depth, W_std=2.0**0.5, b_std=1.0, activation=stax.Relu):
    layers = [stax.Dense(1, W_std, b_std), activation()] * depth
    return stax.serial(*layers, stax.Dense(1, W_std, b_std))


def recipe(**changes):
    given = {"depth": 1, "activation": "relu", "W_std": 2.0**0.5, "b_std": 1.0, "kernel": "ntk",
             "network": None, "input_shape": None}  # fmt: skip
    return recipe_of("NTKRegressor", Parameters(**{**given, **changes}))


@pytest.fixture
def rng():
    """Numbers of each test's own."""
    return np.random.default_rng(0)


@pytest.fixture
def computed(monkeypatch):
    """The pairs that were computed, as frozensets of the bytes of their rows, with repetitions."""
    pairs = []

    def spy(name, fn):
        def wrapped(recipe, x1, *x2):
            rows1 = [row.tobytes() for row in x1]
            rows2 = [row.tobytes() for row in x2[0]] if x2 else rows1
            pairs.extend(
                (recipe, frozenset((a, b)))
                for i, a in enumerate(rows1)
                for b in (rows2 if x2 else rows1[i:])
            )
            return fn(recipe, x1, *x2)

        monkeypatch.setattr(evaluation, name, wrapped)

    spy("within", evaluation.within)
    spy("between", evaluation.between)
    return pairs


def test_a_grid_search_computes_each_pair_once_a_depth(rng, computed):
    n = 47  # which 5 folds do not divide
    X, y = rng.normal(size=(n, 3)), rng.normal(size=n)
    alphas, depths = np.logspace(-4, 1, 10), [1, 2, 3]
    grid = {"alpha": alphas, "depth": depths}
    folds = KFold(5, shuffle=True, random_state=0)
    search = GridSearchCV(NTKRegressor(), grid, cv=folds, return_train_score=True).fit(X, y)
    assert len(computed) == len(set(computed)) == 3 * n * (n + 1) // 2
    assert kernel_cache.pairs == len(computed)
    # The scores are those of kernels that were computed as a whole.
    for depth in depths:
        kernel = np.asarray(network(depth).kernel_fn(X, None, "ntk"))
        ridge = GridSearchCV(KernelRidge(kernel="precomputed"), {"alpha": alphas}, cv=folds)
        mine = search.cv_results_["mean_test_score"][search.cv_results_["param_depth"] == depth]
        theirs = ridge.fit(kernel, y).cv_results_["mean_test_score"]
        np.testing.assert_allclose(mine, theirs, rtol=1e-7)


def test_folds_of_all_sizes_share_one_program(rng):
    X, y = rng.normal(size=(150, 3)), rng.normal(size=150)
    for n in (20, 70, 150):
        wide = rng.normal(size=(n, 8))
        for rows in (X[:n], wide):  # 3 features are filled up to 8
            cross_val_score(NTKRegressor(depth=2), rows, y[:n], cv=3)
        cross_val_score(NTKRegressor(depth=2, W_std=1.0 + n / 100), X[:n], y[:n], cv=3)
    program = evaluation._program(recipe(depth=2).structure, "ntk")
    assert program._cache_size() == 1


def test_random_splits_and_support_vectors_compute_no_pair_twice(rng, computed):
    X = rng.normal(size=(60, 2))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    cv = ShuffleSplit(4, test_size=0.3, random_state=1)
    search = GridSearchCV(NTKSVC(depth=1), {"C": [0.1, 10.0]}, cv=cv).fit(X, y)
    assert len(computed) == len(set(computed)) == kernel_cache.pairs <= 60 * 61 // 2
    kernel = np.asarray(network(1).kernel_fn(X, None, "ntk"))
    theirs = GridSearchCV(SVC(kernel="precomputed"), {"C": [0.1, 10.0]}, cv=cv).fit(kernel, y)
    for key in ("mean_test_score", "split0_test_score"):
        np.testing.assert_array_equal(search.cv_results_[key], theirs.cv_results_[key])


def test_requests_that_overlap_compute_what_is_new(rng, computed):
    """Rows are met in any order, several times, in both batches, and in several tiles."""
    rows = rng.normal(size=(300, 2))
    rows[7] = 0.0
    cache, one = KernelCache(), recipe()
    whole = np.asarray(network(1).kernel_fn(rows, None, "ntk"))
    met = set()
    for zero in (0.0, -0.0) * 4:
        i, j = (np.append(rng.choice(300, size=rng.integers(1, 200)), 7) for _ in range(2))
        # The two zeros of floats are one row.
        x1, x2 = np.where(rows[i] == 0, zero, rows[i]), np.where(rows[j] == 0, -zero, rows[j])
        np.testing.assert_allclose(cache.kernel(one, x1, x2), whole[np.ix_(i, j)], rtol=1e-12)
        own = cache.kernel(one, x1)
        np.testing.assert_allclose(own, whole[np.ix_(i, i)], rtol=1e-12)
        np.testing.assert_array_equal(own, own.T)
        met |= {(min(a, b), max(a, b)) for a in i for b in (*i, *j)}
    assert len(computed) == len(set(computed)) == cache.pairs == len(met)


def test_memory_is_bounded(rng, computed):
    X, tile = rng.normal(size=(200, 2)), 8 * 128**2
    cache = KernelCache()
    cache.max_bytes = 9 * tile
    small = X[:50]
    first, second = recipe(depth=1), recipe(depth=2)
    kernel = cache.kernel(first, small)
    cache.kernel(second, X)
    cache.kernel(first, small)
    assert cache.nbytes == 4 * tile  # 1 of the first network and 3 of the second
    assert len(computed) == 1275 + 20100  # the first one's was still there
    cache.max_bytes = 3 * tile
    assert cache.nbytes == tile  # the network that was asked for last
    np.testing.assert_array_equal(cache.kernel(first, small), kernel)
    # One network's rows pass the bound: it starts anew.
    cache.max_bytes = 4 * tile
    for start in range(0, 1000, 100):
        block = X[:100] + start
        cache.kernel(first, block)
        assert cache.nbytes <= 4 * tile
    before = cache.pairs
    cache.max_bytes = 0
    np.testing.assert_allclose(cache.kernel(first, small), kernel, rtol=1e-14)
    assert cache.nbytes == 0
    assert cache.pairs == before + 1275


def test_a_bound_is_a_number_of_bytes():
    with pytest.raises(ValueError, match=r"max_bytes=-1, expected a number of bytes"):
        kernel_cache.max_bytes = -1
