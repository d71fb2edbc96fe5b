"""Posteriors against the conditioning of a joint Gaussian through its precision matrix."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from inference_cases import (
    assert_close,
    covariance_after,
    data,
    kernel_fn,
    matrices,
    regularized,
)

from ntkjax.predict import Gaussian, gp_inference

BOTH = ("nngp", "ntk")


def conditioned(train, cross, test, y):
    """Mean and covariance of the last block given the first, from the inverse of the joint"
    " matrix."""
    n = len(train)
    precision = np.linalg.inv(np.block([[train, cross.T], [cross, test]]))
    covariance = np.linalg.inv(precision[n:, n:])
    return -covariance @ precision[n:, :n] @ y, covariance


def kernels(x, x_test):
    return kernel_fn(x), kernel_fn(x_test, x), kernel_fn(x_test)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("diag_reg", "absolute"), [(1e-2, False), (0.3, True)])
@pytest.mark.parametrize(("name", "kind"), [("nngp", "nngp"), ("ntkgp", "ntk")])
def test_posterior_is_the_conditional_gaussian(dtype, diag_reg, absolute, name, kind):
    x, x_test, y = data(dtype)
    predict_fn = gp_inference(kernel_fn(x), y, diag_reg, absolute)
    got = predict_fn(name, *kernels(x, x_test)[1:])
    train, cross, test = matrices(x, x_test, kind)
    mean, covariance = conditioned(regularized(train, diag_reg, absolute), cross, test, y)
    assert isinstance(got, Gaussian)
    assert got.mean.dtype == got.covariance.dtype == dtype
    assert_close(got.mean, mean, tol=1e-3 if dtype == np.float32 else 1e-11)
    assert_close(got.covariance, covariance, tol=1e-4 if dtype == np.float32 else 1e-11)
    np.testing.assert_array_equal(got.covariance, got.covariance.T)
    np.testing.assert_array_equal(predict_fn(name, kernel_fn(x_test, x)), got.mean)


@pytest.mark.parametrize("diag_reg", [1e-3, 0.5])
def test_trained_ensemble_is_a_linear_reading_of_the_prior(diag_reg):
    x, x_test, y = data()
    got = gp_inference(kernel_fn(x), y, diag_reg)("ntk", *kernels(x, x_test)[1:])
    ntk, ntk_cross, _ = matrices(x, x_test, "ntk")
    weights = ntk_cross @ np.linalg.inv(regularized(ntk, diag_reg))
    assert_close(got.mean, weights @ y)
    assert_close(got.covariance, covariance_after(weights, *matrices(x, x_test, "nngp")))


def test_full_covariance_between_outputs_equals_a_flat_problem():
    x, x_test, y = data()
    mixing = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 3.0]])
    train, cross, test = matrices(x, x_test, "nngp")
    spread = [np.einsum("ij,ab->ijab", k, mixing) for k in (train, cross, test)]
    got = gp_inference(spread[0], y, trace_axes=())("nngp", *spread[1:])
    flat = [np.kron(k, mixing) for k in (train, cross, test)]
    mean, covariance = conditioned(*flat, y.reshape(-1))
    assert_close(got.mean, mean.reshape(5, 3), tol=1e-9)
    want = covariance.reshape(5, 3, 5, 3).transpose(0, 2, 1, 3)
    assert_close(got.covariance, want, tol=1e-9)


@pytest.mark.parametrize(
    ("shape", "trace_axes", "order"),
    [
        ((7, 2, 3), (-1, -2), (0, 1, 2)),
        ((2, 7, 3), (0, 2), (1, 0, 2)),
        ((2, 3, 7), (0, 1), (2, 0, 1)),
        ((3, 7), 0, (1, 0)),
        ((7,), (), (0,)),
    ],
)
def test_targets_of_any_layout(shape, trace_axes, order):
    x, x_test, _ = data()
    y = np.random.RandomState(3).standard_normal(shape)
    train, cross, _ = matrices(x, x_test, "ntk")
    got = gp_inference(train, y, 1e-3, trace_axes=trace_axes)("ntk", cross)
    by_point = y.transpose(order).reshape(7, -1)
    mean = cross @ np.linalg.solve(regularized(train, 1e-3), by_point)
    unordered = np.reshape(mean, (5, *[shape[a] for a in order[1:]]))
    assert_close(got, unordered.transpose(np.argsort(order)))


def test_without_test_points_the_targets_come_back():
    x, _, y = data()
    predict_fn = gp_inference(kernel_fn(x), y, diag_reg=0.1)
    np.testing.assert_array_equal(predict_fn("ntk"), y)
    got = predict_fn("nngp", None, True)
    np.testing.assert_array_equal(got.mean, y)
    np.testing.assert_array_equal(got.covariance, np.zeros((7, 7)))


def test_get_gives_an_array_or_a_named_tuple():
    x, x_test, y = data()
    predict_fn = gp_inference(kernel_fn(x), y)
    cross = kernel_fn(x_test, x)
    assert predict_fn(None, cross)._fields == BOTH
    assert predict_fn(("ntk", "nngp"), cross)._fields == ("ntk", "nngp")
    assert predict_fn(("ntk",), cross).ntk.shape == (5, 3)
    np.testing.assert_array_equal(predict_fn(BOTH, cross).ntk, predict_fn("ntk", cross))


@pytest.mark.parametrize("n_train", [1, 2])
def test_few_training_points(n_train):
    x, x_test, y = data(n_train=n_train)
    got = gp_inference(kernel_fn(x), y)("nngp", *kernels(x, x_test)[1:])
    mean, covariance = conditioned(*matrices(x, x_test, "nngp"), y)
    assert_close(got.mean, mean)
    assert_close(got.covariance, covariance)


def test_no_test_points():
    x, _, y = data()
    got = gp_inference(kernel_fn(x), y)("nngp", jnp.zeros((0, 7)), jnp.zeros((0, 0)))
    assert got.mean.shape == (0, 3)
    assert got.covariance.shape == (0, 0)


def test_kernels_that_do_not_belong_together_are_refused():
    """They would give negative variances, or a matrix that is no covariance."""
    x, x_test, y = data()
    train, cross, test = kernels(x, x_test)
    for get in ("nngp", "ntk", "ntkgp"):
        predict_fn = gp_inference(train, y)
        predict_fn(get, cross, test)
        large = SimpleNamespace(nngp=30 * cross.nngp, ntk=30 * cross.ntk)
        if get != "ntk":
            with pytest.raises(ValueError, match="k_test_test do not belong to one kernel"):
                predict_fn(get, large, test)
        with pytest.raises(ValueError, match="k_test_test must be symmetric"):
            predict_fn(get, cross, np.triu(test.ntk if get == "ntkgp" else test.nngp))


def test_integer_labels_take_the_dtype_of_the_kernel():
    x, x_test, _ = data(np.float32)
    labels = np.array([[0], [1], [2], [0], [1], [2], [0]])
    k_train, k_test, _ = kernels(x, x_test)
    got = gp_inference(k_train, labels)("ntk", k_test)
    assert got.dtype == np.float32
    assert_close(got, gp_inference(k_train, labels.astype(np.float32))("ntk", k_test), np.float32)
