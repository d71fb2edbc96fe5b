"""Solves with a symmetric positive definite matrix, and what to say when it is not one."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._inference.arguments import check_finite
from ntkjax._inference.concrete import is_concrete


class Regularizer(NamedTuple):
    """A multiple of the identity, added to a matrix; named as the argument that the user set."""

    name: str
    strength: Any
    absolute: bool

    def unit(self, matrix: Array) -> Any:
        """What a strength of 1 adds to the diagonal: 1, or the mean of the diagonal."""
        return 1.0 if self.absolute else jnp.trace(matrix) / matrix.shape[0]


def highest(a: Array, b: Array) -> Array:
    """A matrix product without the reduced precision that accelerators default to."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def symmetrized(matrix: Array, name: str) -> Array:
    """The symmetric part; raises where a concrete matrix is not finite or not symmetric."""
    check_finite(matrix, name)
    if is_concrete(matrix):
        values = np.asarray(matrix)
        gap, top = np.max(np.abs(values - values.T)), np.max(np.abs(values))
        if gap > 100 * np.sqrt(jnp.finfo(matrix.dtype).eps) * top:
            raise ValueError(
                f"{name} must be symmetric, got entries that differ from their mirror image by up"
                f" to {gap:.2g}: pass the kernel of the training points with themselves"
            )
    return (matrix + matrix.T) / 2


def regularized(matrix: Array, regularizer: Regularizer) -> Array:
    """The matrix plus the regulariser's multiple of the identity."""
    shift = jnp.asarray(regularizer.strength * regularizer.unit(matrix), matrix.dtype)
    return matrix + shift * jnp.eye(matrix.shape[0], dtype=matrix.dtype)


def cholesky_factor(matrix: Array, name: str, regularizer: Regularizer) -> Array:
    """The lower Cholesky factor of a regularised matrix.

    Raises ValueError where a concrete matrix is not positive definite in its dtype. A traced matrix
    (under a caller's jit, grad or vmap) has no values to look at: its factor is then NaN.
    """
    factor = jnp.linalg.cholesky(matrix, symmetrize_input=False)
    if is_concrete(factor):
        pivots = np.diagonal(np.asarray(factor)) ** 2
        # A pivot is what is left of a diagonal entry: below a few roundings of it, it is noise.
        noise = 4 * float(jnp.finfo(matrix.dtype).eps) * np.diagonal(np.asarray(matrix))
        if not np.all(pivots > noise):
            raise not_positive_definite(matrix, name, regularizer)
    return factor


def cholesky_solve(factor: Array, right: Array) -> Array:
    """The solution X of (L Lᵀ) X = right, for the lower factor L."""
    return jax.scipy.linalg.cho_solve((factor, True), right)


def not_positive_definite(matrix: Array, name: str, regularizer: Regularizer) -> ValueError:
    """The error for a regularised matrix that has an eigenvalue too small for its dtype."""
    values = np.asarray(matrix, np.float64)
    eigenvalues = np.linalg.eigvalsh(values)
    low, high = float(eigenvalues[0]), float(eigenvalues[-1])
    eps = float(jnp.finfo(matrix.dtype).eps)
    shift = max(-low, 0.0) + 10 * eps * len(values) * max(high, np.max(np.diagonal(values)), 1e-30)
    before = float(regularizer.strength)
    # The unit is the mean of the diagonal before regularising: undo what was added.
    unit = 1.0 if regularizer.absolute else np.trace(values) / len(values) / (1 + before)
    if unit > 0:
        mend = f"{regularizer.name}={before + shift / unit:.1e} would do"
    else:
        mend = "its diagonal is not positive, so this is not the kernel of training points"
    wider = "" if matrix.dtype == jnp.float64 else ", or float64 (jax_enable_x64)"
    condition = high / abs(low) if low else float("inf")
    return ValueError(
        f"{name} with {regularizer.name}={before:g} is not positive definite in {matrix.dtype}: its"
        f" smallest eigenvalue is {low:.3g}, its largest {high:.3g}, its condition number"
        f" {condition:.2g}. Training points may be equal or nearly so: {mend}{wider}"
    )
