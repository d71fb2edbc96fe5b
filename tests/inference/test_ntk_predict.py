"""Kernel regression against a dense solve in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inference_cases import assert_close, data, matrices

from ntkjax._inference.kernel_regression import ntk_predict


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reg", [0.0, 1e-6, 0.7])
@pytest.mark.parametrize("outputs", [None, 1, 3])
def test_equals_a_dense_solve(dtype, reg, outputs):
    x, x_test, y = data(dtype)
    y = y[:, 0] if outputs is None else y[:, :outputs]
    train, cross, _ = matrices(x, x_test, "ntk")
    want = cross @ np.linalg.solve(train + reg * np.eye(7), y.astype(np.float64))
    got = ntk_predict(train.astype(dtype), cross.astype(dtype), y, reg)
    assert got.dtype == dtype
    assert_close(got, want, tol=1e-3 if dtype == np.float32 else 1e-11)


def test_default_reg_is_absolute():
    train, cross = 1e-6 * np.eye(2), 1e-6 * np.eye(2)
    assert_close(ntk_predict(train, cross, np.array([2.0, 4.0])), np.array([1.0, 2.0]))


def test_integer_and_boolean_labels():
    x, x_test, _ = data(np.float32)
    train, cross, _ = (k.astype(np.float32) for k in matrices(x, x_test, "nngp"))
    labels = np.array([0, 1, 1, 0, 0, 1, 0])
    want = ntk_predict(train, cross, labels.astype(np.float32))
    for given in (labels, labels.astype(bool), labels.tolist()):
        got = ntk_predict(train, cross, given)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, want)


def test_one_training_point():
    assert_close(ntk_predict([[2.0]], [[3.0], [0.0]], [4.0], reg=0.0), np.array([6.0, 0.0]))


def test_works_under_jit_vmap_and_grad():
    x, x_test, y = data()
    train, cross, _ = matrices(x, x_test, "nngp")
    want = ntk_predict(train, cross, y, 0.1)
    assert_close(jax.jit(ntk_predict)(train, cross, y, 0.1), want)
    mapped = jax.vmap(lambda reg: ntk_predict(train, cross, y, reg))(jnp.array([0.1, 0.2]))
    assert_close(mapped[0], want)

    def total(reg):
        return jnp.sum(ntk_predict(train, cross, y, reg) ** 2)

    slope = (total(0.1 + 1e-5) - total(0.1 - 1e-5)) / 2e-5
    assert_close(jax.grad(total)(0.1), slope, tol=1e-7)


@pytest.mark.parametrize(
    ("k_train", "k_test", "y", "reg", "error", "match"),
    [
        (np.eye(3), np.ones((2, 3)), np.zeros(0), 0, ValueError, "y_train is empty"),
        (
            np.eye(3),
            np.ones((2, 3)),
            np.zeros((3, 1, 1)),
            0,
            ValueError,
            r"y_train has shape \(3, 1",
        ),
        (
            np.eye(4),
            np.ones((2, 3)),
            np.zeros(3),
            0,
            ValueError,
            r"k_train has shape \(4, 4\), expected",
        ),
        (np.eye(3), np.ones((3, 2)), np.zeros(3), 0, ValueError, r"\(n_test, 3\).*its transpose"),
        (np.eye(3), np.ones(3), np.zeros(3), 0, ValueError, r"k_test has shape \(3,\)"),
        (
            np.eye(3),
            np.ones((2, 3)),
            [0, np.nan, 1],
            0,
            ValueError,
            r"y_train must be finite.*\(1,\)",
        ),
        (
            np.full((3, 3), np.inf),
            np.ones((2, 3)),
            np.zeros(3),
            0,
            ValueError,
            "k_train must be finite",
        ),
        (
            np.eye(3),
            np.ones((2, 3)),
            np.zeros(3),
            -1,
            ValueError,
            "reg must be finite and at least 0",
        ),
        (np.eye(3), np.ones((2, 3)), np.zeros(3), np.nan, ValueError, "reg must be finite"),
        (np.eye(3), np.ones((2, 3)), np.zeros(3), "a", TypeError, "reg must be a real scalar"),
        (
            np.eye(3),
            np.ones((2, 3)),
            np.zeros(3) * 1j,
            0,
            TypeError,
            "y_train has dtype complex128",
        ),
        (np.eye(3), np.ones((2, 3)), "abc", 0, TypeError, "y_train has dtype <U3, expected real"),
        (
            np.triu(np.ones((3, 3))),
            np.ones((2, 3)),
            np.zeros(3),
            0,
            ValueError,
            "must be symmetric",
        ),
    ],
)
def test_bad_input_names_the_argument(k_train, k_test, y, reg, error, match):
    with pytest.raises(error, match=match):
        ntk_predict(k_train, k_test, y, reg)
