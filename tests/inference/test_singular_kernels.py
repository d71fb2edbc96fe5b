"""What is said of a kernel that cannot be inverted, and that the advice it gives is right."""

import re

import jax
import numpy as np
import pytest
from inference_cases import data, kernel_fn

from ntkjax._inference.kernel_regression import ntk_predict
from ntkjax.predict import gp_inference, gradient_descent_mse_ensemble


def duplicated(dtype, scale=1.0):
    """Training points of which some are equal, so that kernels are singular."""
    x, x_test, y = data(dtype, n_train=9)
    x[3], x[8] = x[1], x[1]
    return scale * x, scale * x_test, y


def advised(error):
    found = re.search(r"(\w+)=([0-9.e+-]+) would do", str(error.value))
    assert found, str(error.value)
    return found[1], float(found[2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e-4, 1.0, 1e5])
def test_ntk_predict_advises_a_reg_that_works(dtype, size):
    x, x_test, y = duplicated(dtype)
    train = np.asarray(kernel_fn(x, None, "nngp")) * dtype(size)
    cross = np.asarray(kernel_fn(x_test, x, "nngp")) * dtype(size)
    with pytest.raises(ValueError, match=f"not positive definite in {np.dtype(dtype)}") as error:
        ntk_predict(train, cross, y, reg=0.0)
    name, reg = advised(error)
    assert name == "reg"
    assert 0 < reg < 1e-3 * size
    assert np.isfinite(ntk_predict(train, cross, y, reg=reg)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("kind", ["nngp", "ntk"])
def test_gp_inference_advises_a_diag_reg_that_works(dtype, absolute, kind):
    x, x_test, y = duplicated(dtype)
    cross = kernel_fn(x_test, x)
    with pytest.raises(ValueError, match=rf"k_train_train \({kind}\)") as error:
        gp_inference(kernel_fn(x), y, 0.0, absolute)(kind, cross)
    diag_reg = advised(error)[1]
    assert np.isfinite(gp_inference(kernel_fn(x), y, diag_reg, absolute)(kind, cross)).all()


def test_message_holds_the_eigenvalue_and_the_condition_number():
    values = np.array([-0.25, 1.0, 8.0])
    rotation = np.linalg.qr(np.random.RandomState(0).standard_normal((3, 3)))[0]
    matrix = rotation @ np.diag(values) @ rotation.T
    with pytest.raises(ValueError) as error:
        ntk_predict(matrix, np.ones((1, 3)), np.ones(3), reg=0.0)
    assert "smallest eigenvalue is -0.25, its largest 8, its condition number 32" in str(
        error.value
    )
    assert 0.25 < advised(error)[1] < 0.3


def test_a_badly_scaled_diagonal_is_not_singular():
    got = ntk_predict(np.diag([1.0, 1e-20]), np.diag([1.0, 1e-20]), np.array([3.0, 5.0]), reg=0.0)
    np.testing.assert_allclose(got, [3.0, 5.0], rtol=1e-14)


@pytest.mark.parametrize("t", [None, np.inf, np.array([1.0, np.inf])])
def test_end_of_training_on_equal_points_is_an_error(t):
    x, x_test, y = duplicated(np.float64)
    predict_fn = gradient_descent_mse_ensemble(kernel_fn, x, y)
    with pytest.raises(ValueError, match="not positive definite"):
        predict_fn(t, x_test, "ntk")
    with pytest.raises(ValueError, match="not positive definite"):
        predict_fn(t, x_test, "ntk")  # the error is not forgotten by what was kept


@pytest.mark.parametrize(
    ("dtype", "t", "tol"),
    [
        (np.float32, 0.0, 0),
        (np.float32, 1e3, 1e-3),
        (np.float64, 1e3, 1e-11),
        (np.float64, 1e6, 1e-8),
    ],
)
def test_finite_time_on_equal_points_is_finite(dtype, t, tol):
    x, x_test, y = duplicated(dtype)
    predict_fn = gradient_descent_mse_ensemble(kernel_fn, x, y)
    got = predict_fn(t, x_test, "ntk", True)
    assert np.isfinite(got.mean).all()
    assert np.isfinite(got.covariance).all()
    on_train = predict_fn(t, None, "ntk")
    np.testing.assert_allclose(on_train[3], on_train[1], atol=tol, rtol=0)
    np.testing.assert_allclose(on_train[8], on_train[1], atol=tol, rtol=0)


def test_equal_points_of_different_targets_learn_their_mean():
    x, _, y = duplicated(np.float64)
    on_train = gradient_descent_mse_ensemble(kernel_fn, x, y)(1e7, None, "ntk")
    np.testing.assert_allclose(on_train[1], y[[1, 3, 8]].mean(axis=0), atol=1e-4)


def test_an_indefinite_kernel_does_not_flow():
    def indefinite(x1, x2=None, get=None):
        k = kernel_fn(x1, x2, get)
        k.ntk = k.ntk - 3.0 * np.eye(len(x1))
        return k

    x, _, y = data()
    with pytest.raises(ValueError, match=r"kernel_fn\(x_train\) \(ntk\).*smallest eigenvalue is -"):
        gradient_descent_mse_ensemble(indefinite, x, y)(1.0, None, "ntk")


def test_under_jit_a_concrete_kernel_is_still_checked():
    x, x_test, y = duplicated(np.float64)
    predict_fn = gp_inference(kernel_fn(x), y)
    with pytest.raises(ValueError, match="not positive definite"):
        jax.jit(lambda k: predict_fn("nngp", k))(kernel_fn(x_test, x, "nngp"))


def test_under_jit_a_traced_kernel_never_gives_nan():
    matrix = np.array([[1.0, 2.0], [2.0, 1.0]])
    got = jax.jit(lambda k: ntk_predict(k, k, np.ones(2), 0.0))(matrix)
    assert np.isfinite(got).all()

    def at_the_end(scale):
        x, x_test, y = duplicated(np.float64)
        predict_fn = gradient_descent_mse_ensemble(kernel_fn, scale * x, y)
        return [predict_fn(t, scale * x_test, "ntk") for t in (None, np.array([1.0, np.inf]))]

    assert all(np.isfinite(outputs).all() for outputs in jax.jit(at_the_end)(1.0))
