"""Training dynamics against a solver of differential equations and against gradient descent"
" itself."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inference_cases import assert_close, covariance_after, data, kernel_fn, matrices, regularized
from scipy.integrate import solve_ivp

from ntkjax.predict import gradient_descent_mse_ensemble


def integrated_weights(train, cross, rate):
    """W of f_test(t) = f_test(0) + W (y - f_train(0)) at time 1, by integration of the flow.

    The residual R of each initial residual obeys dR/dt = -rate train R, and dW/dt = rate cross R.
    """
    n, m = len(train), len(cross)

    def flow(_, state):
        residual = state[: n * n].reshape(n, n)
        return rate * np.concatenate([-(train @ residual).ravel(), (cross @ residual).ravel()])

    start = np.concatenate([np.eye(n).ravel(), np.zeros(m * n)])
    end = solve_ivp(flow, (0, 1), start, method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
    return end[: n * n].reshape(n, n), end[n * n :].reshape(m, n)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["ntk", "nngp"])
@pytest.mark.parametrize("t", [0.3, 4.0, 60.0])
def test_follows_the_differential_equation(dtype, kind, t):
    x, x_test, y = data(dtype)
    diag_reg, learning_rate = 0.02, 0.7
    predict_fn = gradient_descent_mse_ensemble(kernel_fn, x, y, learning_rate, diag_reg)
    train, cross, _ = matrices(x, x_test, kind)
    prior, prior_cross, prior_test = matrices(x, x_test, "nngp")
    full = regularized(train, diag_reg)
    residual, weights = integrated_weights(full, cross, learning_rate * t / y.size)
    # Training the last layer alone treats the ridge as noise of the prior.
    prior = full if kind == "nngp" else prior
    tol = 1e-5 if dtype == np.float32 else 1e-8
    got = predict_fn(t, x_test, kind, True)
    assert got.mean.dtype == got.covariance.dtype == dtype
    assert_close(got.mean, weights @ y, tol=tol)
    want = covariance_after(weights, prior, prior_cross, prior_test)
    assert_close(got.covariance, want, tol=tol)
    got = predict_fn(t, None, kind, True)
    assert_close(got.mean, y - residual @ y, tol=tol)
    # What is left of a prior of variance 1 is as exact as the prior was.
    np.testing.assert_allclose(got.covariance, residual @ prior @ residual.T, rtol=0, atol=tol)


def test_equals_gradient_descent_on_a_linear_model():
    x, x_test, y = data()
    features = np.random.RandomState(1).standard_normal((4, 9))

    def kernel(x1, x2=None, get=None):
        k = x1 @ features @ (features.T @ (x1 if x2 is None else x2).T)
        return SimpleNamespace(nngp=k, ntk=k)

    def loss(params):
        return jnp.mean((x @ features @ params - y) ** 2) / 2

    steps, rate = 4000, 2e-3
    gradient = jax.jit(jax.grad(loss))
    params = jax.lax.fori_loop(0, steps, lambda _, p: p - rate * gradient(p), jnp.zeros((9, 3)))
    got = gradient_descent_mse_ensemble(kernel, x, y, learning_rate=2.0)
    assert_close(got(steps * rate / 2, x_test, "ntk"), x_test @ features @ params, tol=2e-3)


@pytest.mark.parametrize("kind", ["ntk", "nngp"])
def test_time_zero_is_the_prior(kind):
    x, x_test, y = data()
    got = gradient_descent_mse_ensemble(kernel_fn, x, y)(0.0, x_test, kind, True)
    np.testing.assert_array_equal(got.mean, np.zeros((5, 3)))
    assert_close(got.covariance, matrices(x, x_test, "nngp")[2])


@pytest.mark.parametrize("kind", ["ntk", "nngp"])
@pytest.mark.parametrize("t", [1e12, np.inf])
def test_long_times_are_the_end_of_training(kind, t):
    x, x_test, y = data()
    predict_fn = gradient_descent_mse_ensemble(kernel_fn, x, y, diag_reg=1e-3)
    got, want = predict_fn(t, x_test, kind, True), predict_fn(None, x_test, kind, True)
    assert_close(got.mean, want.mean, tol=1e-10)
    assert_close(got.covariance, want.covariance, tol=1e-10)
    on_train = predict_fn(t, None, kind, True)
    assert_close(on_train.mean, y)
    np.testing.assert_allclose(on_train.covariance, 0, atol=1e-14)
    np.testing.assert_array_equal(predict_fn(None, None, kind), y)


@pytest.mark.parametrize("on_test", [False, True])
@pytest.mark.parametrize("shape", [(), (2, 3), (0,)])
def test_times_of_any_shape_come_first(shape, on_test):
    x, x_test, y = data()
    x_test = x_test if on_test else None
    times = np.random.RandomState(0).uniform(0, 9, shape)
    predict_fn = gradient_descent_mse_ensemble(kernel_fn, x, y)
    got = predict_fn(times, x_test, None, True)
    n = 5 if on_test else 7
    assert got.nngp.mean.shape == (*shape, n, 3)
    assert got.ntk.covariance.shape == (*shape, n, n)
    for place in np.ndindex(shape):
        want = predict_fn(float(times[place]), x_test, "ntk", True)
        assert_close(got.ntk.mean[place], want.mean)
        assert_close(got.ntk.covariance[place], want.covariance)


def test_outputs_that_covary_equal_a_flat_problem():
    x, x_test, y = data()
    mixing = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 3.0]])

    def wide(x1, x2=None, get=None):
        k = kernel_fn(x1, x2)
        return SimpleNamespace(
            nngp=jnp.einsum("ij,ab->ijab", k.nngp, mixing),
            ntk=jnp.einsum("ij,ab->ijab", k.ntk, mixing),
        )

    def flat(x1, x2=None, get=None):
        k = kernel_fn(x1, x2)
        return SimpleNamespace(nngp=jnp.kron(k.nngp, mixing), ntk=jnp.kron(k.ntk, mixing))

    got = gradient_descent_mse_ensemble(wide, x, y, trace_axes=())(3.0, x_test, "ntk", True)
    want = gradient_descent_mse_ensemble(flat, x, y.reshape(21, 1))(3.0, x_test, "ntk", True)
    assert_close(got.mean, want.mean.reshape(5, 3))
    assert_close(got.covariance, want.covariance.reshape(5, 3, 5, 3).transpose(0, 2, 1, 3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_eigenvalues_and_short_times_keep_their_digits(dtype):
    values = np.array([1.0, 1e-6, 1e-14])
    kernel = jnp.diag(jnp.asarray(values, dtype))

    def diagonal(x1, x2=None, get=None):
        return SimpleNamespace(nngp=kernel, ntk=kernel)

    predict_fn = gradient_descent_mse_ensemble(diagonal, kernel, np.ones((3, 1), dtype))
    for t in (1e-8, 1.0, 1e8):
        want = -np.expm1(-values * t / 3)
        np.testing.assert_allclose(
            predict_fn(t, None, "ntk")[:, 0], want, rtol=1e-6 if dtype == np.float32 else 1e-14
        )


def test_one_training_point():
    x, x_test, y = data(n_train=1)
    train, cross, _ = matrices(x, x_test, "ntk")
    got = gradient_descent_mse_ensemble(kernel_fn, x, y)(2.0, x_test, "ntk")
    assert_close(got, cross / train * -np.expm1(-train * 2.0 / 3) @ y)


def test_get_gives_an_array_or_a_named_tuple():
    x, x_test, y = data()
    predict_fn = gradient_descent_mse_ensemble(kernel_fn, x, y)
    for t in (None, 1.0):
        assert predict_fn(t, x_test)._fields == ("nngp", "ntk")
        assert predict_fn(t, x_test, ("ntk", "nngp"))._fields == ("ntk", "nngp")
        np.testing.assert_array_equal(
            predict_fn(t, x_test, ("ntk",)).ntk, predict_fn(t, x_test, "ntk")
        )


def test_nothing_is_learned_at_learning_rate_zero():
    x, _, y = data()
    got = gradient_descent_mse_ensemble(kernel_fn, x, y, learning_rate=0.0)(np.inf, None, "ntk")
    np.testing.assert_array_equal(got, np.zeros((7, 3)))
