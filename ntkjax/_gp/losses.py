r"""What hyperparameters are judged by: the marginal likelihood, and leaving one point out.

With A the covariance of the noisy targets R, `(n, k)`, and Q its inverse (Rasmussen and Williams
2006, equations 2.30, 5.10 and 5.12):

    log p(R) = -1/2 tr(R^T Q R) - k/2 log det A - n k / 2 log 2 pi,
    R_i - mean_i = (Q R)_i / Q_ii,    variance_i = 1 / Q_ii.

Both need no more of A than Q and log det A, whose derivatives are -Q dA Q and tr(Q dA): so
gradients cost a product of matrices more, and never pass through a factorization.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._solve.factor import factor_of
from ntkjax._solve.ladder import laddered
from ntkjax._solve.symmetric import highest


@jax.custom_jvp
def inverse_and_log_det(matrix: Array) -> tuple[Array, Array]:
    """The inverse of a covariance and the logarithm of its determinant; mended, so never NaN.

    The logarithm is infinite where the matrix is indefinite, and no covariance of anything.
    """
    factor = factor_of(*laddered(matrix))
    whitened = factor.whiten(jnp.eye(len(matrix), dtype=matrix.dtype))
    log_det = jnp.where(factor.is_definite, factor.log_det(), jnp.inf)
    return highest(whitened.T, whitened), log_det


@inverse_and_log_det.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> Any:
    inverse, log_det = inverse_and_log_det(*primals)
    (change,) = tangents
    moved = -highest(inverse, highest(change, inverse))
    return (inverse, log_det), (moved, jnp.sum(inverse * change))


def log_marginal_likelihood(matrix: Array, right: Array) -> Array:
    """The log density of targets `(n, k)` whose columns have a covariance."""
    inverse, log_det = inverse_and_log_det(matrix)
    fit = jnp.sum(right * highest(inverse, right))
    return gaussian_log_density(fit, log_det, right.shape)


def gaussian_log_density(fit: Array, log_det: Array, shape: tuple[int, ...]) -> Array:
    """That of k columns of n entries, given their square in the metric of the covariance."""
    n, k = shape
    return -0.5 * (fit + k * log_det + n * k * math.log(2 * math.pi))


def left_out(inverse_diagonal: Array, weights: Array, right: Array) -> tuple[Array, Array]:
    """Mean `(n, k)` and variance `(n,)` of each noisy target, given all others."""
    return right - weights / inverse_diagonal[:, None], 1 / inverse_diagonal


def log_leave_one_out(matrix: Array, right: Array) -> Array:
    """The sum of the log densities of each target given all others."""
    inverse, log_det = inverse_and_log_det(matrix)
    mean, variance = left_out(jnp.diagonal(inverse), highest(inverse, right), right)
    square = (right - mean) ** 2 / variance[:, None]
    density = -0.5 * jnp.sum(square + jnp.log(2 * math.pi * variance)[:, None])
    return jnp.where(log_det < jnp.inf, density, -jnp.inf)


#: By the names that users call them.
OBJECTIVES: dict[str, Callable[[Array, Array], Array]] = {
    "marginal_likelihood": log_marginal_likelihood,
    "leave_one_out": log_leave_one_out,
}
