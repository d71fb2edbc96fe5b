"""How often and with what an ensemble calls its kernel function; jit, grad and vmap; bad input."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inference_cases import assert_close, data, kernel_fn

from ntkjax.predict import gp_inference, gradient_descent_mse_ensemble


class Recorder:
    """A kernel function that remembers how it was called."""

    def __init__(self):
        self.calls = []

    def __call__(self, x1, x2=None, get=None, **keywords):
        self.calls.append((len(x1), None if x2 is None else len(x2), get, keywords))
        return kernel_fn(x1, x2, get)


def test_training_kernels_are_evaluated_once():
    x, x_test, y = data()
    recorder = Recorder()
    predict_fn = gradient_descent_mse_ensemble(recorder, x, y)
    predict_fn(1.0, x_test, "ntk")
    assert recorder.calls == [(7, None, ("ntk",), {}), (5, 7, ("ntk",), {})]
    predict_fn(None, x_test, "ntk", True)
    assert recorder.calls[2:] == [
        (7, None, ("nngp",), {}),
        (5, 7, ("nngp", "ntk"), {}),
        (5, None, ("nngp",), {}),
    ]
    predict_fn(2.0, None, None, True)
    assert len(recorder.calls) == 5


def test_what_a_jitted_call_computed_is_kept_without_leaking():
    x, x_test, y = data()
    recorder = Recorder()
    predict_fn = gradient_descent_mse_ensemble(recorder, x, y)
    inside = jax.jit(lambda t, x_test: predict_fn(t, x_test, "ntk", True))(3.0, x_test)
    outside = predict_fn(3.0, x_test, "ntk", True)
    assert_close(inside.mean, outside.mean)
    assert_close(inside.covariance, outside.covariance)
    assert [call[:2] for call in recorder.calls].count((7, None)) == 1


def test_traced_training_inputs_leave_nothing_behind():
    x, x_test, y = data()

    @jax.jit
    def predicted(x):
        predict_fn = gradient_descent_mse_ensemble(kernel_fn, x, y, diag_reg=1e-3)
        inner = jax.jit(lambda t: predict_fn(t, x_test, "ntk"))(2.0)
        return inner, predict_fn(2.0, x_test, "ntk"), predict_fn(None, x_test, "ntk")

    inner, outer, end = predicted(x)
    assert_close(inner, outer)
    predict_fn = gradient_descent_mse_ensemble(kernel_fn, x, y, diag_reg=1e-3)
    assert_close(outer, predict_fn(2.0, x_test, "ntk"))
    assert_close(end, predict_fn(None, x_test, "ntk"), tol=1e-9)


@pytest.mark.parametrize("t", [None, 5.0])
@pytest.mark.parametrize("argument", ["x", "x_test", "y", "diag_reg"])
def test_gradients_equal_finite_differences(t, argument):
    x, x_test, y = data()
    given = {"x": x, "x_test": x_test, "y": y, "diag_reg": 1e-2}
    direction = np.random.RandomState(2).standard_normal(np.shape(given[argument]))

    @jax.jit
    def total(step):
        v = {**given, argument: given[argument] + step * direction}
        ensemble = gradient_descent_mse_ensemble(kernel_fn, v["x"], v["y"], diag_reg=v["diag_reg"])
        got = ensemble(t, v["x_test"], "ntk", True)
        return jnp.sum(got.mean**2) + jnp.sum(jnp.sin(got.covariance))

    slope = (total(1e-5) - total(-1e-5)) / 2e-5
    assert_close(jax.grad(total)(0.0), slope, tol=1e-6)


def test_gradient_in_time_and_vmap_over_test_points():
    x, x_test, y = data()
    predict_fn = gradient_descent_mse_ensemble(kernel_fn, x, y)
    slope = (predict_fn(2.0 + 1e-5, x_test, "ntk") - predict_fn(2.0 - 1e-5, x_test, "ntk")) / 2e-5
    assert_close(jax.jacobian(lambda t: predict_fn(t, x_test, "ntk"))(2.0), slope, tol=1e-7)
    one = jax.vmap(lambda point: predict_fn(2.0, point[None], "ntk")[0])(x_test)
    assert_close(one, predict_fn(2.0, x_test, "ntk"))


def test_keywords_are_merged_for_each_pair_of_batches():
    x, x_test, y = data()
    recorder = Recorder()
    on_train, on_test = (np.ones(7), np.ones(7)), (np.zeros(5), np.zeros(5))
    predict_fn = gradient_descent_mse_ensemble(recorder, x, y, mask=on_train, mode="same")
    predict_fn(1.0, x_test, "ntk", True, mask=on_test, mode="same")
    train, cross, test = (call[3] for call in recorder.calls)
    assert [k["mode"] for k in (train, cross, test)] == ["same"] * 3
    assert train["mask"] is on_train
    assert test["mask"] is on_test
    assert cross["mask"][0] is on_test[0]
    assert cross["mask"][1] is on_train[0]
    predict_fn(1.0, x_test, "ntk")
    assert recorder.calls[-1][3]["mask"] is on_train


def test_keywords_that_cannot_be_merged():
    x, x_test, y = data()
    predict_fn = gradient_descent_mse_ensemble(Recorder(), x, y, mode="a")
    with pytest.raises(ValueError, match=r"'mode' of kernel_fn must be the same.*'a' and 'b'"):
        predict_fn(1.0, x_test, "ntk", mode="b")
    with pytest.raises(TypeError, match=r"keyword 'made', expected one of \['mode'\]"):
        predict_fn(1.0, x_test, "ntk", made="b")


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"y_train": np.zeros((0, 3))}, ValueError, r"y_train is empty, got shape \(0, 3\)"),
        ({"y_train": np.full((7, 3), np.nan)}, ValueError, "y_train must be finite, got 21 NaN"),
        ({"y_train": np.zeros(7)}, ValueError, r"trace_axes=\(-1,\) leaves no axis of y_train"),
        ({"y_train": np.zeros((6, 3))}, ValueError, r"\(7, 7\), expected \(6, 6\)"),
        ({"trace_axes": (2,)}, ValueError, "trace_axes must name axes of y_train"),
        ({"trace_axes": ()}, ValueError, r"\(7, 7\), expected \(7, 7, 3, 3\)"),
        ({"diag_reg": -1e-3}, ValueError, "diag_reg must be finite and at least 0, got -0.001"),
        ({"diag_reg": np.ones(2)}, TypeError, "diag_reg must be a real scalar"),
        ({"learning_rate": -1.0}, ValueError, "learning_rate must be finite and at least 0"),
        ({"kernel_fn": None}, TypeError, "kernel_fn must be callable, got NoneType"),
        ({"kernel_fn": lambda *_: SimpleNamespace(nngp=np.eye(7))}, ValueError, "holds no 'ntk'"),
    ],
)
def test_bad_input_to_an_ensemble(change, error, match):
    x, _, y = data()
    arguments = {"kernel_fn": kernel_fn, "x_train": x, "y_train": y, **change}
    with pytest.raises(error, match=match):
        gradient_descent_mse_ensemble(**arguments)(1.0, None, "ntk")


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((1.0, None, "cov"), ValueError, r"get must name one or more of \('nngp', 'ntk'\).*'cov'"),
        ((1.0, None, ()), ValueError, "get must name one or more"),
        ((1.0, None, ("ntk", "cov")), ValueError, r"got get=\('ntk', 'cov'\)"),
        ((1.0, None, 3), TypeError, "get must be a string"),
        ((-1.0, None, "ntk"), ValueError, "t must hold training times of at least 0, got -1.0"),
        ((np.array([1.0, np.nan]), None, "ntk"), ValueError, "t must hold training times"),
        (("soon", None, "ntk"), TypeError, "t has dtype <U4, expected real numbers"),
    ],
)
def test_bad_input_to_predict_fn(arguments, error, match):
    x, _, y = data()
    with pytest.raises(error, match=match):
        gradient_descent_mse_ensemble(kernel_fn, x, y)(*arguments)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("ntkgp2",), r"\('nngp', 'ntk', 'ntkgp'\)"),
        (("ntk", np.ones((5, 6))), r"k_test_train has shape \(5, 6\), expected \(n_test, 7\)"),
        (("ntk", np.ones((5, 7, 3, 3))), r"expected \(n_test, 7\)"),
        (
            ("ntkgp", np.ones((5, 7)), np.eye(4)),
            r"k_test_test has shape \(4, 4\), expected \(5, 5\)",
        ),
        (("ntk", np.ones((5, 7)), np.eye(5)), "k_train_train must hold both nngp and ntk"),
    ],
)
def test_bad_input_to_gp_inference(arguments, match):
    x, _, y = data()
    with pytest.raises(ValueError, match=match):
        gp_inference(kernel_fn(x, None, "ntk"), y)(*arguments)
