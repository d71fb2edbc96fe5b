"""Outputs at the end of training, and posteriors of Gaussian processes: Cholesky solves."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._inference.arguments import common_dtype, kernel_array
from ntkjax._inference.gaussian import Gaussian
from ntkjax._inference.layout import interleaved
from ntkjax._inference.training_kernel import TrainingKernel
from ntkjax._inference.variances import check_variances
from ntkjax._solve.factor import factor_solve, whitened
from ntkjax._solve.regularizer import diagonal_of
from ntkjax._solve.symmetric import highest, symmetric_part, symmetrized

#: The kernels that make up a covariance, for messages.
_NAMES = "k_train_train, k_test_train and k_test_test"


def posterior(
    training: TrainingKernel, y: Array, name: str, k_test_train: Any, k_test_test: Any
) -> Array | Gaussian:
    """The mean, or with `k_test_test` the Gaussian, of `name` as `gp_inference` defines it."""
    if k_test_train is None:
        return _on_train(training, y, name, k_test_test is not None)
    return _on_test(training, y, name, k_test_train, k_test_test)


def _on_train(training: TrainingKernel, y: Array, name: str, with_covariance: bool) -> Any:
    kind = _kind(name)
    kernel = training.matrices((kind,))[kind]
    mean = y.astype(common_dtype(y, kernel))
    if not with_covariance:
        return mean
    return Gaussian(mean, interleaved(jnp.zeros_like(kernel), training.layout.row_shape))


def _on_test(
    training: TrainingKernel, y: Array, name: str, k_test_train: Any, k_test_test: Any
) -> Any:
    layout, kind = training.layout, _kind(name)
    transports = name == "ntk" and k_test_test is not None
    matrices = training.matrices((kind, "nngp") if transports else (kind,))
    factor = training.factor(kind, matrices[kind])
    cross, rows = layout.cross_matrix(
        kernel_array(k_test_train, kind, "k_test_train"), "k_test_train"
    )
    dtype = common_dtype(y, factor.upper, cross)
    cross = cross.astype(dtype)
    weights = training.weights(kind, matrices[kind], layout.target_matrix(y.astype(dtype)))
    mean = layout.outputs(highest(cross, weights), rows)
    if k_test_test is None:
        return mean
    test = kernel_array(k_test_test, "ntk" if name == "ntkgp" else "nngp", "k_test_test")
    test = layout.square_matrix(test, "k_test_test", rows).astype(dtype)
    test = symmetrized(test, "k_test_test")
    upper = factor.upper.astype(dtype)
    if transports:
        solved = factor_solve(upper, cross.T)
        prior_cross = kernel_array(k_test_train, "nngp", "k_test_train")
        prior_cross = layout.cross_matrix(prior_cross, "k_test_train")[0].astype(dtype)
        covariance = transported(test, prior_cross, matrices["nngp"].astype(dtype), solved)
    else:
        covariance = _conditioned(upper, cross, test)
    check_variances(_NAMES, diagonal_of(covariance), diagonal_of(test))
    return Gaussian(mean, interleaved(symmetric_part(covariance), rows))


@jax.jit
def _conditioned(upper: Array, cross: Array, test: Array) -> Array:
    """The covariance of test points, given the factor of that of the training points."""
    white = whitened(upper, cross.T)
    return test - highest(white.T, white)


def transported(test: Array, cross: Array, train: Array, weights: Array) -> Array:
    """Covariance of f(test) - weights' f(train); f has those of test, test-train, train."""
    mixed = highest(cross, weights)
    return test + highest(weights.T, highest(train, weights)) - mixed - mixed.T


def _kind(name: str) -> str:
    return "ntk" if name == "ntkgp" else name
