"""Kernels, data and dense formulas that share no code with the library."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np


def kernel_fn(x1, x2=None, get=("nngp", "ntk"), sharpness=1.0):
    """Two positive definite kernels that do not commute."""
    x2 = x1 if x2 is None else x2
    square = jnp.sum((x1[:, None] - x2[None, :]) ** 2, axis=-1)
    both = {
        "nngp": jnp.exp(-square * sharpness / x1.shape[1]),
        "ntk": (x1 @ x2.T / x1.shape[1] + 2) ** 2 + jnp.exp(-square),
    }
    return both[get] if isinstance(get, str) else SimpleNamespace(**{g: both[g] for g in get})


def data(dtype=np.float64, n_train=7, n_test=5, outputs=3, seed=0):
    """Training inputs, test inputs and targets."""
    r = np.random.RandomState(seed)
    shapes = [(n_train, 4), (n_test, 4), (n_train, outputs)]
    return [r.standard_normal(shape).astype(dtype) for shape in shapes]


def matrices(x, x_test, kind):
    """Train-train, test-train and test-test kernels in float64."""
    x, x_test = np.asarray(x, np.float64), np.asarray(x_test, np.float64)
    pairs = [(x, x), (x_test, x), (x_test, x_test)]
    return [np.asarray(kernel_fn(a, b, kind), np.float64) for a, b in pairs]


def regularized(k, diag_reg, absolute=False):
    """A matrix with a ridge in units of the mean of its diagonal, or of 1."""
    return k + diag_reg * (1 if absolute else np.mean(np.diag(k))) * np.eye(len(k))


def covariance_after(weights, train, cross, test):
    """Covariance of f(test) - weights f(train) from the joint covariance of f."""
    joint = np.block([[train, cross.T], [cross, test]])
    reading = np.hstack([-weights, np.eye(len(test))])
    return reading @ joint @ reading.T


def tolerance(dtype):
    """Relative to the largest value, for well-conditioned kernels."""
    return {"float32": 2e-5, "float64": 1e-11}[np.dtype(dtype).name]


def assert_close(got, want, dtype=np.float64, tol=None):
    """Same shape, and errors small beside the largest value."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    error = np.max(np.abs(got.astype(np.float64) - want), initial=0.0)
    bound = (tol or tolerance(dtype)) * max(1e-30, np.max(np.abs(want), initial=0.0))
    assert error <= bound, f"error {error:.2e} above {bound:.2e}"
