"""Gradient descent on any loss, against other solvers, discrete descent and optimisers."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

import ntkjax as nt
from ntkjax.predict import ODEState, gradient_descent, gradient_descent_mse

RNG = np.random.default_rng(0)
ROOT = RNG.normal(size=(7, 9))
KERNEL = ROOT @ ROOT.T / 9
K, CROSS = KERNEL[:4, :4], KERNEL[4:, :4]
Y, F, G = RNG.normal(size=(4, 2)), RNG.normal(size=(4, 2)), RNG.normal(size=(3, 2))
LABELS = np.eye(2)[[0, 1, 1, 0]]


def squares(fx, y):
    return 0.5 * jnp.mean((fx - y) ** 2)


def entropy(fx, y):
    return -jnp.mean(jax.nn.log_softmax(fx) * y)


def penalised(fx, y):
    return entropy(fx, y) + 0.01 * jnp.mean(fx**2)


def entropy_slope(fx):
    """The gradient of the cross-entropy, by hand."""
    p = np.exp(fx - fx.max(-1, keepdims=True))
    return (p / p.sum(-1, keepdims=True) - LABELS) / LABELS.size


def integrated(kernel, start, rate, times, momentum=None):
    """Outputs of all points at times, by an implicit solver of scipy; the first 4 are trained."""
    c, n = start.shape[1], start.size
    drag = 0.0 if momentum is None else (1 - momentum) / rate**0.5

    def flow(_, state):
        f, q = state[:n].reshape(-1, c), state[n:].reshape(-1, c)
        force = -kernel[:, :4] @ entropy_slope(f[:4])
        if momentum is None:
            return force.ravel()
        return np.concatenate([q.ravel(), (force - drag * q).ravel()])

    scaled = np.asarray(times) * (rate if momentum is None else rate**0.5)
    begin = start.ravel() if momentum is None else np.concatenate([start.ravel(), np.zeros(n)])
    found = solve_ivp(flow, (0, scaled[-1]), begin, "Radau", scaled, rtol=1e-9, atol=1e-11).y.T
    return [a.reshape(-1, *start.shape) for a in np.split(found, found.shape[1] // n, axis=1)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("last", [30.0, 1e9])
def test_squared_error_is_the_closed_form(dtype, last):
    """Over a short time by an explicit solver, and over a long one by one for stiff problems."""
    arrays = [a.astype(dtype) for a in (K, Y, F, G, CROSS)]
    times = np.array([[0.0, 0.3], [5.0, last]], dtype)
    found = gradient_descent(squares, *arrays[:2], 0.5)(times, *arrays[2:])
    wanted = gradient_descent_mse(*arrays[:2], 0.5)(times, *arrays[2:])
    for one, other in zip(found, wanted, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        np.testing.assert_allclose(one, other, atol=1e-7 if dtype == np.float64 else 1e-3)


@pytest.mark.parametrize("momentum", [None, 0.6])
@pytest.mark.parametrize("last", [40.0, 1e6])
def test_cross_entropy_against_another_solver(momentum, last):
    rate, times = 0.7, np.array([0.5, 7.0, last])
    wanted = integrated(KERNEL, np.concatenate([F, G]), rate, times, momentum)
    predict_fn = gradient_descent(entropy, K, LABELS, rate, momentum)
    state = predict_fn(times, ODEState(F, G), k_test_train=CROSS)
    found = [(state.fx_train, state.fx_test), (state.qx_train, state.qx_test)][: len(wanted)]
    for (train, test), other in zip(found, wanted, strict=True):
        scale = np.max(np.abs(other))
        np.testing.assert_allclose(train, other[:, :4], atol=1e-6 * scale)
        np.testing.assert_allclose(test, other[:, 4:], atol=1e-6 * scale)


def test_momentum_is_the_limit_of_small_steps():
    rate, momentum, steps = 1e-4, 0.99, 3000
    f, step = F, np.zeros_like(F)
    for _ in range(steps):
        step = momentum * step - rate * K @ entropy_slope(f)
        f = f + step
    found = gradient_descent(entropy, K, LABELS, rate, momentum)(float(steps), F)
    assert np.max(np.abs(f - F)) > 0.02
    np.testing.assert_allclose(found, f, atol=0.02 * np.max(np.abs(f - F)))


@pytest.mark.parametrize("momentum", [None, 0.6])
def test_a_state_is_where_the_next_call_goes_on(momentum):
    predict_fn = gradient_descent(entropy, K, LABELS, 0.7, momentum)
    both = predict_fn(np.array([3.0, 10.0]), ODEState(F, G), None, CROSS)
    early, late = jax.tree.map(lambda a: a[0], both), jax.tree.map(lambda a: a[1], both)
    assert (early.qx_train is None) == (momentum is None)
    resumed = predict_fn(np.array([2.0, 7.0]), early, None, CROSS)
    for one, other in zip(jax.tree.leaves(resumed), jax.tree.leaves(late), strict=True):
        np.testing.assert_allclose(one[1], other, atol=1e-7)


def test_what_is_asked_for():
    """One state of a solver, in all the shapes in which it is returned."""
    predict_fn = gradient_descent(entropy, K, LABELS, 0.7)
    train, test = predict_fn(1.5, 0.0, 0.0, CROSS)
    assert (train.shape, test.shape) == ((4, 2), (3, 2))
    np.testing.assert_array_equal(predict_fn(1.5), train)
    np.testing.assert_array_equal(predict_fn(1.5, None, 0.0, CROSS), test)
    np.testing.assert_array_equal(predict_fn(1.5, None, G, CROSS), test + G)
    state = predict_fn(1.5, ODEState(None, 0.0), None, CROSS)
    np.testing.assert_array_equal(state.fx_train, train)
    np.testing.assert_array_equal(state.fx_test, test)
    assert predict_fn(np.zeros((0, 3))).shape == (0, 3, 4, 2)
    np.testing.assert_array_equal(predict_fn(0.0, F), F)


def test_the_end_of_training_on_the_squared_error():
    predict_fn = gradient_descent(squares, K, Y)
    train, test = predict_fn(None, F, G, CROSS)
    wanted = gradient_descent_mse(K, Y)(None, F, G, CROSS)
    np.testing.assert_allclose(train, Y, atol=1e-6)
    np.testing.assert_allclose(test, wanted[1], atol=1e-5)
    both = predict_fn(np.array([2.0, np.inf]), F)
    np.testing.assert_allclose(both[0], gradient_descent_mse(K, Y)(2.0, F), atol=1e-7)
    np.testing.assert_allclose(both[1], Y, atol=1e-6)


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_the_steady_state_is_the_minimum(momentum):
    end = gradient_descent(penalised, K, LABELS, 2.0, momentum)(None, F)
    value = jax.jit(jax.value_and_grad(lambda f: penalised(f.reshape(4, 2), LABELS)))
    best = minimize(lambda f: [np.asarray(a) for a in value(f)], F.ravel(), jac=True, tol=1e-12)
    np.testing.assert_allclose(end, best.x.reshape(4, 2), atol=1e-4)


def test_where_nothing_comes_to_rest():
    with pytest.raises(RuntimeError, match=r"no steady state.*ask for a finite t"):
        gradient_descent(entropy, K, LABELS)(None)


def test_a_limit_on_steps(monkeypatch):
    from ntkjax._inference import integrate

    monkeypatch.setattr(integrate, "MAX_STEPS", 3)
    predict_fn = gradient_descent(entropy, K, LABELS)
    with pytest.raises(RuntimeError, match=r"more than 3 steps.*ODEState"):
        predict_fn(1e9)
    assert np.all(np.isnan(jax.jit(predict_fn)(1e9)))


def test_equal_points_of_different_labels_settle_between_them():
    """A singular kernel moves both alike, and the loss has its minimum halfway."""
    twice = np.ones((2, 2))
    end = gradient_descent(entropy, twice, np.eye(2))(None, np.array([[1.0, 0.0], [1.0, 0.0]]))
    np.testing.assert_allclose(end, 0.5, atol=1e-6)


def test_a_kernel_of_all_outputs():
    both = np.kron(K, np.array([[2.0, 0.5], [0.5, 1.0]])).reshape(4, 2, 4, 2).transpose(0, 2, 1, 3)
    number = gradient_descent(squares, 2.0, Y, trace_axes=(0, 1))(0.7, F)
    wanted = gradient_descent_mse(2.0, Y, trace_axes=(0, 1))(0.7, F)
    np.testing.assert_allclose(number, wanted, rtol=1e-6)
    found = gradient_descent(squares, both, Y, trace_axes=())(0.7, F)
    wanted = gradient_descent_mse(both, Y, trace_axes=())(0.7, F)
    np.testing.assert_allclose(found, wanted, atol=1e-7)


def test_kernels_of_networks():
    network = nt.stax.serial(nt.stax.Dense(1, 1.5, 0.1), nt.stax.Relu(), nt.stax.Dense(1, 1.2))
    x, z = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 3))
    kernel, cross = network.kernel_fn(x), network.kernel_fn(z, x)
    found = gradient_descent(entropy, kernel, LABELS)(2.0, 0.0, 0.0, cross)
    wanted = gradient_descent(entropy, kernel.ntk, LABELS)(2.0, 0.0, 0.0, cross.ntk)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_transformations():
    predict_fn = gradient_descent(entropy, K, LABELS, 0.7)

    def total(f):
        return jnp.sum(jnp.sin(predict_fn(3.0, f, G, CROSS)[1]))

    direction = RNG.normal(size=F.shape)
    slope = (total(F + 1e-4 * direction) - total(F - 1e-4 * direction)) / 2e-4
    value, gradient = jax.jit(jax.value_and_grad(total))(F)
    np.testing.assert_allclose(value, total(F), rtol=1e-7)
    np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "error", "phrases"),
    [
        (lambda: gradient_descent(None, K, Y), TypeError, ["loss must be callable"]),
        (lambda: gradient_descent(lambda f, y: f - y, K, Y)(1.0), ValueError, ["(4, 2)", "mean"]),
        (
            lambda: gradient_descent(lambda f, y: jnp.sum(jnp.log(f)), K, Y)(1.0, 0.0),
            ValueError,
            ["finite gradient where training starts"],
        ),
        (lambda: gradient_descent(squares, K[:3], Y)(1.0), ValueError, ["(3, 4)", "(4, 4)"]),
        (lambda: gradient_descent(squares, K, Y[:3])(1.0), ValueError, ["(4, 4)", "(3, 3)"]),
        (lambda: gradient_descent(squares, K * np.nan, Y)(1.0), ValueError, ["k_train_train"]),
        (lambda: gradient_descent(squares, K, Y * np.nan), ValueError, ["y_train must be finite"]),
        (lambda: gradient_descent(squares, K, Y, -1.0), ValueError, ["learning_rate"]),
        (lambda: gradient_descent(squares, K, Y, 1.0, 1.5), ValueError, ["momentum", "1.5"]),
        (lambda: gradient_descent(squares, K, Y, 1.0, -0.5), ValueError, ["momentum", "-0.5"]),
        (lambda: gradient_descent(squares, K, Y, trace_axes=3), ValueError, ["trace_axes=3"]),
        (
            lambda: gradient_descent(squares, -K, Y)(1.0),
            ValueError,
            ["k_train_train (ntk) is not positive definite in float64", "not the kernel of"],
        ),
        (lambda: gradient_descent(squares, K, Y)(-1.0), ValueError, ["t must hold training times"]),
        (lambda: gradient_descent(squares, K, Y)(np.nan), ValueError, ["t must hold training"]),
        (lambda: gradient_descent(squares, K, Y)([2.0, 1.0]), ValueError, ["decrease", "sort"]),
        (lambda: gradient_descent(squares, K, Y)(1.0, F[:2]), ValueError, ["(2, 2)", "(4, 2)"]),
        (lambda: gradient_descent(squares, K, Y)(1.0, np.nan), ValueError, ["must be finite"]),
        (lambda: gradient_descent(squares, K, Y)(1.0, F, G), ValueError, ["without k_test_train"]),
        (
            lambda: gradient_descent(squares, K, Y)(1.0, F, G, CROSS * np.inf),
            ValueError,
            ["k_test_train must be finite"],
        ),
        (lambda: gradient_descent(squares, K, Y)(1.0, None), ValueError, ["nothing is asked for"]),
        (
            lambda: gradient_descent(squares, K, Y)(1.0, ODEState()),
            ValueError,
            ["nothing is asked"],
        ),
        (
            lambda: gradient_descent(squares, K, Y)(1.0, ODEState(F), G, CROSS),
            ValueError,
            ["fx_test_0 comes beside an ODEState"],
        ),
        (
            lambda: gradient_descent(squares, K, Y)(1.0, ODEState(F, None, F)),
            ValueError,
            ["velocities", "momentum is None"],
        ),
        (
            lambda: gradient_descent(squares, K, Y, 1.0, 0.9)(1.0, ODEState(F, None, F[:2])),
            ValueError,
            ["fx_train_or_state_0.qx_train has shape (2, 2)"],
        ),
        (
            lambda: gradient_descent(squares, K, Y, 1.0, 0.9)(1.0, ODEState(F, None, None, G)),
            ValueError,
            ["qx_test without fx_test"],
        ),
    ],
)
def test_errors(call, error, phrases):
    with pytest.raises(error) as caught:
        call()
    assert all(phrase in str(caught.value) for phrase in phrases), str(caught.value)


def test_without_the_solver(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(ImportError, match=r"pip install 'ntkjax\[ode\]'"):
        gradient_descent(squares, K, Y)
