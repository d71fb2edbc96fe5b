"""The kernel of a network among those of tinygp, where that is installed."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax import gp, stax
from ntkjax._gp import tinygp_kernel as bridge

X, X_TEST = (np.random.default_rng(0).normal(size=(n, 2)) for n in (12, 5))
Y = np.sin(2 * X[:, 0]) + X[:, 1]


def network_of(W_std):
    return stax.serial(stax.Dense(1, W_std, 0.5), stax.Erf(), stax.Dense(1))


@pytest.fixture
def tinygp():
    """The package, whose code mixes dtypes and ranks."""
    module = pytest.importorskip("tinygp")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield module


@pytest.mark.parametrize("get", ["nngp", "ntk"])
def test_its_values_are_those_of_the_network(tinygp, get):
    kernel, kernel_fn = gp.tinygp_kernel(network_of(2.0), get=get), network_of(2.0).kernel_fn
    assert isinstance(kernel, tinygp.kernels.Kernel)
    want = kernel_fn(X, X_TEST, get)
    np.testing.assert_allclose(kernel(X, X_TEST), want, rtol=1e-12)
    np.testing.assert_allclose(kernel(X, X), kernel_fn(X, None, get), rtol=1e-12)
    np.testing.assert_allclose(kernel(X), np.diagonal(kernel_fn(X, None, get)), rtol=1e-12)
    scaled = 3.0 * kernel + tinygp.kernels.ExpSquared(1.5)
    smooth = np.exp(-0.5 * np.sum((X[:, None] - X_TEST) ** 2, -1) / 1.5**2)
    np.testing.assert_allclose(scaled(X, X_TEST), 3 * want + smooth, rtol=1e-10)
    np.testing.assert_allclose((kernel * kernel)(X), kernel(X) ** 2, rtol=1e-10)


def test_numbers_are_points_with_one_feature(tinygp):
    kernel, x = gp.tinygp_kernel(network_of(2.0)), X[:, 0]
    want = network_of(2.0).kernel_fn(x[:, None], None, "nngp")
    np.testing.assert_allclose(kernel(x, x), want, rtol=1e-12)
    np.testing.assert_allclose((kernel + kernel)(x, x), 2 * want, rtol=1e-10)


def test_processes_of_both_libraries_agree(tinygp):
    ours = gp.GaussianProcess(network_of, 0.1, params={"W_std": 2.0}).fit(X, Y)

    def log_probability(kernel):
        return tinygp.GaussianProcess(kernel, jnp.asarray(X), diag=0.1).log_probability(Y)

    kernel = gp.tinygp_kernel(network_of, {"W_std": 2.0})
    value, slope = jax.jit(jax.value_and_grad(log_probability))(kernel)
    np.testing.assert_allclose(value, ours.log_marginal_likelihood(), rtol=1e-9)
    want = jax.grad(ours.log_marginal_likelihood)({"W_std": 2.0})
    np.testing.assert_allclose(slope.params["W_std"], want["W_std"], rtol=1e-7)
    process = tinygp.GaussianProcess(kernel, jnp.asarray(X), diag=0.1)
    found = process.condition(Y, jnp.asarray(X_TEST), diag=0.0).gp
    np.testing.assert_allclose(found.loc, ours.predict(X_TEST).mean, rtol=1e-8)
    np.testing.assert_allclose(found.variance, ours.predict(X_TEST).variance, rtol=1e-7)


def test_without_tinygp_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tinygp.kernels", None)
    bridge._kernel_class.cache_clear()
    with pytest.raises(ImportError, match=r"pip install 'ntkjax\[tinygp\]'"):
        gp.tinygp_kernel(network_of(2.0))


def test_a_wrong_argument_is_named():
    with pytest.raises(TypeError, match="network is 3, expected a triple"):
        gp.tinygp_kernel(3)
    with pytest.raises(ValueError, match="get must name one or more of"):
        gp.tinygp_kernel(network_of(2.0), get="cntk")
