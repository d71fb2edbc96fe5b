"""Gradient descent in whole steps, against loops over the weights of a linear model."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from inference_cases import assert_close

from ntkjax._inference.heavy_ball import HeavyBall
from ntkjax._inference.steps import Steps
from ntkjax.predict import (
    gradient_descent_mse,
    gradient_descent_mse_ensemble,
    gradient_descent_mse_ensemble_steps,
    gradient_descent_mse_steps,
    max_learning_rate,
)

RNG = np.random.default_rng(0)
N, M, OUTPUTS = 5, 3, 2
#: Features of training and of test points: those of weights that train, and of those that do not.
PHI, PHI_TEST = RNG.normal(size=(N, 8)) / 3, RNG.normal(size=(M, 8)) / 3
PSI, PSI_TEST = RNG.normal(size=(N, 4)) / 3, RNG.normal(size=(M, 4)) / 3
Y = RNG.normal(size=(N, OUTPUTS))
NTK, CROSS = PHI @ PHI.T, PHI_TEST @ PHI.T
LARGEST = float(np.linalg.eigvalsh(NTK)[-1])


def rate_of(momentum, share):
    """A share of the largest learning rate that converges."""
    return share * 2 * (1 + momentum) * Y.size / LARGEST


def trained(weights, targets, rate, momentum, counts):
    """The weights after each of the counts of steps, by a loop."""
    found, velocity = [], np.zeros_like(weights)
    for step in range(max(counts) + 1):
        if step in counts:
            found.append(weights)
        slope = PHI.T @ (PHI @ weights - targets) / Y.size
        velocity = momentum * velocity + slope
        weights = weights - rate * velocity
    return found


@pytest.mark.parametrize("momentum", [0.0, 0.4, 0.95])
@pytest.mark.parametrize("share", [0.01, 0.6, 0.97])
def test_outputs_are_those_of_a_loop(momentum, share):
    """Modes creep, oscillate and jump from side to side, by turns."""
    rate, counts = rate_of(momentum, share), [0, 1, 2, 7, 200]
    start = RNG.normal(size=(8, OUTPUTS))
    weights = trained(start, Y, rate, momentum, counts)
    predict_fn = gradient_descent_mse_steps(NTK, Y, rate, momentum)
    train, test = predict_fn(np.array(counts), PHI @ start, PHI_TEST @ start, CROSS)
    assert_close(train, np.stack([PHI @ w for w in weights]), tol=1e-11)
    assert_close(test, np.stack([PHI_TEST @ w for w in weights]), tol=1e-11)
    assert_close(predict_fn(7, PHI @ start), train[3])


def affine_kernel(x1, x2=None, get=None):
    """The kernels of the features, whose rows the inputs number."""
    phi, psi = np.concatenate([PHI, PHI_TEST]), np.concatenate([PSI, PSI_TEST])
    ntk = phi @ phi.T
    pick = np.ix_(np.ravel(x1), np.ravel(x1 if x2 is None else x2))
    return SimpleNamespace(nngp=jnp.asarray(ntk + psi @ psi.T)[pick], ntk=jnp.asarray(ntk)[pick])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_ensemble_is_that_of_a_loop(momentum):
    """Outputs are affine in the Gaussian weights at the start, of which a part never trains."""
    rate, counts = rate_of(momentum, 0.3), [0, 1, 6, 40]
    predict_fn = gradient_descent_mse_ensemble_steps(affine_kernel, np.arange(N), Y, rate, momentum)
    # Columns: weights that start as a unit vector, with outputs of fixed weights as targets.
    moving = trained(np.eye(8), np.zeros((N, 8)), rate, momentum, counts)
    fixed = trained(np.zeros((8, 4)), -PSI, rate, momentum, counts)
    means = trained(np.zeros((8, OUTPUTS)), Y, rate, momentum, counts)
    for x_test, phi, psi in ((None, PHI, PSI), (np.arange(N, N + M), PHI_TEST, PSI_TEST)):
        found = predict_fn(np.array(counts), x_test, "ntk", compute_cov=True)
        assert_close(found.mean, np.stack([phi @ w for w in means]), tol=1e-11)
        parts = [np.hstack([phi @ w, phi @ u + psi]) for w, u in zip(moving, fixed, strict=True)]
        assert_close(found.covariance, np.stack([p @ p.T for p in parts]), tol=1e-11)


def test_small_steps_follow_the_flow():
    """With momentum, in a time that runs 1 / (1 - momentum) times as fast."""
    time = 3.0
    flow = gradient_descent_mse_ensemble(affine_kernel, np.arange(N), Y)
    flow = flow(time, np.arange(N, N + M), "nngp", True)
    for momentum in (0.0, 0.5):
        errors = []
        for steps in (10**4, 10**6):
            rate = time * (1 - momentum) / steps
            there = gradient_descent_mse_ensemble_steps(
                affine_kernel, np.arange(N), Y, rate, momentum
            )(steps, np.arange(N, N + M), "nngp", True)
            gaps = [np.max(np.abs(a - b)) for a, b in zip(there, flow, strict=True)]
            errors.append(max(gaps))
        assert errors[0] < 1e-3
        # The gap is proportional to the learning rate.
        assert errors[1] == pytest.approx(errors[0] / 100, rel=0.05)


def exact_shares(x, momentum, steps):
    """The share that is left, and the sum of responses, by powers of a matrix in 60 digits."""
    x, momentum = mpmath.mpf(float(x)), mpmath.mpf(float(momentum))
    # U_{s+1}, U_s and the sum of U up to s.
    step = mpmath.matrix([[1 + momentum - x, -momentum, 0], [1, 0, 0], [1, 0, 1]])
    after, now, total = step**steps * mpmath.matrix([1, 0, 0])
    return after - momentum * now, total


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("momentum", [0.0, 1e-3, 0.9, 0.99])
def test_no_digits_are_lost(momentum, dtype):
    """From tiny to almost divergent x, at critical damping and beside it, up to 1e9 steps."""
    momentum = dtype(momentum)
    a, b = ((1 + sign * float(momentum) ** 0.5) ** 2 for sign in (-1, 1))
    near = [0.5, 1 - 1e-9, 1.0, 1 + 1e-9, 1.01]
    x = np.array([0, 1e-30, 1e-9, 1e-4, 0.1, 0.9, *(a * s for s in near), 0.8 * b, 0.98 * b], dtype)
    steps = [0, 1, 2, 101, 10**9]
    rate = jnp.asarray(1.0, dtype)
    dynamics = HeavyBall(rate, jnp.asarray(momentum)) if momentum else Steps(rate)

    @jax.jit
    def shares(steps):
        return dynamics.decay(x, steps), dynamics.learned(x, steps), dynamics.response(x, steps)

    unit = 8 * float(np.finfo(dtype).eps) / (1 - float(momentum))
    with mpmath.workdps(60):
        for count in steps:
            left, learned, response = map(np.asarray, shares(jnp.asarray(count, dtype)))
            for i, each in enumerate(x):
                want, total = exact_shares(each, momentum, count)
                assert abs(left[i] - want) <= unit
                # Relative to themselves, as far as the modes creep.
                assert abs(response[i] - total) <= unit * abs(total)
                assert abs(learned[i] - each * total) <= unit * abs(each * total)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_end_of_training(momentum):
    predict_fn = gradient_descent_mse_steps(NTK, Y, rate_of(momentum, 0.9), momentum, 1e-3)
    want = predict_fn(None, 0.0, 0.0, CROSS)
    for steps in (np.inf, 10**7):
        for one, other in zip(predict_fn(steps, 0.0, 0.0, CROSS), want, strict=True):
            assert_close(one, other, tol=1e-9)
    flow = gradient_descent_mse(NTK, Y, diag_reg=1e-3)(None, 0.0, 0.0, CROSS)
    assert_close(want[1], flow[1])


def test_modes_that_points_do_not_see_stay():
    """At any time, and without NaN; float32 stays float32."""
    kernel = np.diag([1.0, 0.5, 0.1, 0.1, 0.0]).astype(np.float32)
    for momentum in (0.0, 0.5):
        predict_fn = gradient_descent_mse_steps(kernel, Y.astype(np.float32), 0.5, momentum)
        steps, cross = np.array([0, 1, 3, 7, 10**9]), np.eye(5, dtype=np.float32)[:3]
        train, test = predict_fn(steps, 0.0, 0.0, cross)
        assert train.dtype == test.dtype == np.float32
        np.testing.assert_allclose(train[:, 4], 0, atol=1e-6)
        assert np.all(np.isfinite(test))


def test_shapes_of_steps_and_traced_arguments():
    steps = np.array([[0, 1, 5], [7, 9, 11]])
    rate, h = rate_of(0.5, 0.4), 1e-6
    train, test = gradient_descent_mse_steps(NTK, Y, rate, 0.5)(steps, 0.0, 0.0, CROSS)
    assert (train.shape, test.shape) == ((2, 3, N, OUTPUTS), (2, 3, M, OUTPUTS))

    def value(rate, momentum):
        predict_fn = gradient_descent_mse_steps(NTK, Y, rate, momentum)
        return jnp.sum(predict_fn(11, None, 0.0, CROSS) ** 2)

    there, slopes = jax.jit(jax.value_and_grad(value, (0, 1)))(rate, 0.5)
    np.testing.assert_allclose(there, np.sum(test[1, 2] ** 2), rtol=1e-12)
    by_rate = (value(rate + h, 0.5) - value(rate - h, 0.5)) / (2 * h)
    by_momentum = (value(rate, 0.5 + h) - value(rate, 0.5 - h)) / (2 * h)
    np.testing.assert_allclose(slopes, (by_rate, by_momentum), rtol=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_rate_that_diverges_is_refused(momentum):
    """At any number of steps, and at the end; by the ensemble too. The message says what works."""
    bound = float(max_learning_rate(NTK, Y.size, momentum))
    message = rf"diverges.*learning rates below {bound:.6g}"
    predict_fn = gradient_descent_mse_steps(NTK, Y, 1.001 * bound, momentum)
    ensemble = gradient_descent_mse_ensemble_steps(
        affine_kernel, np.arange(N), Y, 1.001 * bound, momentum
    )
    for call in (lambda: predict_fn(1), predict_fn, lambda: ensemble(None, None, "ntk")):
        with pytest.raises(ValueError, match=message):
            call()
    assert np.all(np.isfinite(gradient_descent_mse_steps(NTK, Y, 0.999 * bound, momentum)(10**6)))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: gradient_descent_mse_steps(NTK, Y, 0.0), "learning_rate must be above 0"),
        (lambda: gradient_descent_mse_steps(NTK, Y, -1.0), "learning_rate must be finite"),
        (lambda: gradient_descent_mse_steps(NTK, Y, 0.1, 1.0), "momentum must be below 1"),
        (lambda: gradient_descent_mse_steps(NTK, Y, 0.1, -0.1), "momentum must be finite"),
        (lambda: gradient_descent_mse_steps(NTK, Y, 0.1)(1.5), "whole numbers of at least 0"),
        (lambda: gradient_descent_mse_steps(NTK, Y, 0.1)(-1), "whole numbers of at least 0"),
        (lambda: gradient_descent_mse_steps(NTK, Y, 0.1)(np.nan), "whole numbers of at least 0"),
        (lambda: gradient_descent_mse_steps(NTK, Y, 0.1)(1, 0.0, 0.0), "without k_test_train"),
        (lambda: gradient_descent_mse_steps(-NTK, Y, 0.1)(1), "not positive definite"),
    ],
)
def test_errors(call, match):
    with pytest.raises(ValueError, match=match):
        call()
