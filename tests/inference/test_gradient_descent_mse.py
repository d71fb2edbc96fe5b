"""Training on the squared error, against a matrix exponential, and the largest learning rate."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import ntkjax as nt
from ntkjax.predict import gradient_descent_mse, max_learning_rate

RNG = np.random.default_rng(0)
ROOT = RNG.normal(size=(7, 9))
KERNEL = ROOT @ ROOT.T / 9
K, CROSS = KERNEL[:4, :4], KERNEL[4:, :4]
Y, F, G = RNG.normal(size=(4, 2)), RNG.normal(size=(4, 2)), RNG.normal(size=(3, 2))


def flow(matrix, s):
    """exp(-s K), by its eigenvalues in float64."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(np.exp(-s * values)) @ vectors.T


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("t", [0.0, 0.3, 20.0, 1e12])
def test_outputs_at_a_time(t, dtype):
    rate, reg = 0.5, 1e-2
    full = K + reg * np.mean(np.diag(K)) * np.eye(4)
    left = flow(full, rate * t / Y.size) @ (F - Y)
    test = G + CROSS @ np.linalg.solve(full, (Y - F) + left)
    arrays = [a.astype(dtype) for a in (K, Y, F, G, CROSS)]
    predict_fn = gradient_descent_mse(*arrays[:2], rate, reg)
    found = predict_fn(t, *arrays[2:])
    tolerance = 1e-10 if dtype == np.float64 else 2e-5
    for one, other in zip(found, (Y + left, test), strict=True):
        assert one.dtype == dtype
        np.testing.assert_allclose(one, other, atol=tolerance * 10)


@pytest.mark.parametrize(("dtype", "smallest"), [(np.float64, 1e-8), (np.float32, 1e-3)])
def test_all_times_in_one_call(dtype, smallest):
    """From 0 to 1e12, with an ill-conditioned kernel, against eigenvectors of 40 digits."""
    basis = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
    matrix = ((basis * np.geomspace(smallest, 1.0, 4)) @ basis.T).astype(dtype)
    matrix = (matrix + matrix.T) / 2
    y, f, g, cross = (a.astype(dtype) for a in (Y, F, G, CROSS @ matrix))
    times = np.array([0.0, *np.geomspace(1e-6, 1e12, 19)], dtype)
    train, test = gradient_descent_mse(matrix, y)(times, f, g, cross)
    with mpmath.workdps(40):
        values, vectors = mpmath.eigsy(mpmath.matrix(matrix.astype(float).tolist()))
        at_start = vectors.T * mpmath.matrix((y.astype(float) - f).tolist())
        for i, t in enumerate(times):
            rates = [mpmath.mpf(float(t)) * value / Y.size for value in values]
            left = vectors * mpmath.diag([mpmath.exp(-rate) for rate in rates]) * at_start
            shares = [
                -mpmath.expm1(-rate) / value for rate, value in zip(rates, values, strict=True)
            ]
            learned = vectors * mpmath.diag(shares) * at_start
            learned = np.array(learned.tolist(), float).reshape(4, 2)
            left = np.array(left.tolist(), float).reshape(4, 2)
            # An eigenvalue is known to within the rounding of the largest.
            bound = 4 * float(np.finfo(dtype).eps) / smallest
            np.testing.assert_allclose(train[i], y - left, rtol=0, atol=bound)
            np.testing.assert_allclose(test[i], g + cross @ learned, rtol=0, atol=10 * bound)


def test_times_of_any_shape_come_first():
    predict_fn = gradient_descent_mse(K, Y)
    times = np.array([[0.0, 1.0, np.inf], [3.0, 1e3, 1e12]])
    train, test = predict_fn(times, F, G, CROSS)
    assert (train.shape, test.shape) == ((2, 3, 4, 2), (2, 3, 3, 2))
    np.testing.assert_allclose(train[0, 0], F, atol=1e-12)
    np.testing.assert_allclose(test[0, 0], G, atol=1e-12)
    for made, at_the_end in zip((train, test), predict_fn(None, F, G, CROSS), strict=True):
        np.testing.assert_allclose(made[0, 2], at_the_end, atol=1e-9)
        np.testing.assert_allclose(made[1, 2], at_the_end, atol=1e-9)


def test_what_is_asked_for():
    predict_fn = gradient_descent_mse(K, Y)
    for t in (None, 1.5):
        train, test = predict_fn(t, 0.0, 0.0, CROSS)
        np.testing.assert_allclose(predict_fn(t), train)
        np.testing.assert_allclose(predict_fn(t, None, 0.0, CROSS), test)


def test_a_kernel_of_all_outputs():
    """Without traced axes, the kernel pairs outputs, too."""
    both = np.kron(K, np.array([[2.0, 0.5], [0.5, 1.0]])).reshape(4, 2, 4, 2)
    found = gradient_descent_mse(both.transpose(0, 2, 1, 3), Y, trace_axes=())(0.7, F)
    left = flow(both.reshape(8, 8), 0.7 / Y.size) @ (F - Y).reshape(8)
    np.testing.assert_allclose(found, Y + left.reshape(4, 2), atol=1e-12)


def test_a_kernel_that_lacks_all_axes_is_a_number():
    """Every output is then a training point of its own. An axis may be named twice."""
    axes = (0, 1, -1)
    left = np.exp(-2.0 * 0.7 / Y.size) * (F - Y)
    learned = 0.5 / 2.0 * (Y - F + left)
    train, test = gradient_descent_mse(2.0, Y, trace_axes=axes)(0.7, F, F, 0.5)
    np.testing.assert_allclose(train, Y + left, atol=1e-12)
    np.testing.assert_allclose(test, F + learned, atol=1e-12)
    mean, covariance = nt.predict.gp_inference(2.0, Y, trace_axes=axes)("nngp", 0.5, 1.0)
    np.testing.assert_allclose(mean, 0.25 * Y, atol=1e-12)
    np.testing.assert_allclose(covariance, 1 - 0.5**2 / 2, atol=1e-12)

    def kernel_fn(x1, x2, get):
        return SimpleNamespace(nngp=jnp.asarray(2.0), ntk=jnp.asarray(2.0))

    ensemble = nt.predict.gradient_descent_mse_ensemble(kernel_fn, F, Y, trace_axes=axes)
    mean, covariance = ensemble(0.7, G, "nngp", compute_cov=True)
    np.testing.assert_allclose(mean, (1 - np.exp(-2.0 * 0.7 / Y.size)) * Y, atol=1e-12)
    assert covariance.shape == ()
    np.testing.assert_allclose(covariance, 2 * np.exp(-4.0 * 0.7 / Y.size), atol=1e-12)


def test_it_is_the_mean_of_the_ensemble():
    network = nt.stax.serial(nt.stax.Dense(1, 1.5, 0.1), nt.stax.Relu(), nt.stax.Dense(1, 1.2))
    x, z = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 3))
    kernel, cross = network.kernel_fn(x), network.kernel_fn(z, x)
    ensemble = nt.predict.gradient_descent_mse_ensemble(network.kernel_fn, x, Y)
    alone = gradient_descent_mse(kernel, Y)(2.0, None, 0.0, cross)
    np.testing.assert_allclose(alone, ensemble(2.0, z, "ntk"), atol=1e-12)


def test_gradients_by_time_and_targets():
    def value(t, y):
        return jnp.sum(gradient_descent_mse(K, y)(t, F, G, CROSS)[1])

    t, step = 1.3, 1e-5
    by_time, by_targets = jax.grad(value, (0, 1))(t, jnp.asarray(Y))
    secant = (value(t + step, Y) - value(t - step, Y)) / (2 * step)
    np.testing.assert_allclose(by_time, secant, rtol=1e-6)
    assert np.all(np.isfinite(by_targets))


@pytest.mark.parametrize(
    ("call", "phrases"),
    [
        (lambda: gradient_descent_mse(K[:3], Y), ["k_train_train has shape (3, 4)", "(4, 4)"]),
        (lambda: gradient_descent_mse(K, Y)(-1.0), ["t must hold training times"]),
        (lambda: gradient_descent_mse(K, Y)(1.0, F[:2]), ["fx_train_0 has shape (2, 2)"]),
        (lambda: gradient_descent_mse(K, Y)(1.0, F, G), ["without k_test_train"]),
        (lambda: gradient_descent_mse(K, Y)(1.0, F, G[:2], CROSS), ["fx_test_0 has", "(3, 2)"]),
        (lambda: gradient_descent_mse(K, Y)(1.0, None), ["nothing is asked for"]),
        (lambda: gradient_descent_mse(K, Y)(1.0, F * np.nan), ["fx_train_0 must be finite"]),
        (lambda: gradient_descent_mse(K, Y)(1.0, F, G, CROSS * np.nan), ["k_test_train must be"]),
        (lambda: gradient_descent_mse(K, Y, -1.0), ["learning_rate"]),
        (lambda: gradient_descent_mse(-K, Y)(1.0), ["not positive definite", "diag_reg"]),
        (lambda: max_learning_rate(K[:3]), ["(3, 4)", "pairs of equal axes"]),
        (lambda: max_learning_rate(-K), ["ntk_train_train is not positive semi-definite"]),
        (lambda: max_learning_rate(K, 0), ["y_train_size", "y_train.size"]),
        (lambda: max_learning_rate(K, momentum=1.0), ["momentum must be below 1"]),
    ],
)
def test_errors(call, phrases):
    with pytest.raises(ValueError) as caught:
        call() if "has shape (3, 4)" not in phrases[0] else call()(1.0)
    assert all(phrase in str(caught.value) for phrase in phrases)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: gradient_descent_mse(None, Y)(1.0), "k_train_train is None, expected a kernel"),
        (lambda: gradient_descent_mse({"ntk": K}, Y)(1.0), r"k_train_train is a dict of \['ntk'\]"),
        (lambda: gradient_descent_mse([K, K], Y)(1.0), "a list of 2 kernels, expected one"),
        (lambda: gradient_descent_mse(K, (Y, Y[:2])), r"y_train is a tuple of 2"),
        (lambda: gradient_descent_mse(K, Y)(1.0, (F, F[0])), r"fx_train_0 is a tuple of 2"),
        (lambda: gradient_descent_mse(K, Y, trace_axes="c"), "trace_axes must be .*got 'c'"),
        (lambda: gradient_descent_mse(K, Y, trace_axes=((1,),)), "trace_axes must be .*integers"),
        (lambda: gradient_descent_mse(K, Y, trace_axes=None), "trace_axes must be .*got None"),
    ],
)
def test_wrong_trees_and_types(call, match):
    with pytest.raises(TypeError, match=match):
        call()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(("factor", "converges"), [(0.99, True), (1.01, False)])
def test_descent_converges_up_to_the_largest_learning_rate(momentum, factor, converges):
    rate = factor * float(max_learning_rate(K, Y.size, momentum))
    f, velocity = np.zeros_like(Y), np.zeros_like(Y)
    for _ in range(20_000):
        velocity = momentum * velocity - rate / Y.size * K @ (f - Y)
        f = f + velocity
        if not np.all(np.abs(f) < 1e6):
            break
    assert np.all(np.abs(f) < 1e6) == converges


def test_a_kernel_of_zeros_has_a_finite_rate():
    assert np.isfinite(max_learning_rate(np.zeros((2, 2))))
