"""Solves with a symmetric positive definite matrix, and what to say when it is not one."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._inference.regularizer import (
    Regularizer,
    regularized,
    shift_of,
    shifted,
    smallest_strength,
)
from ntkjax._jax_compat import is_concrete
from ntkjax._kernel.arrays import check_finite, default_float

#: Rows and columns of the parts in which a matrix is compared with its transpose.
_PART = 512


def highest(a: Array, b: Array) -> Array:
    """A matrix product without the reduced precision that accelerators default to."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def symmetrized(matrix: Array, name: str) -> Array:
    """The symmetric part; raises where a concrete matrix is not finite or not symmetric."""
    check_finite(name, matrix)
    if is_concrete(matrix):
        gap, top = _asymmetry(np.asarray(matrix))
        if gap == 0:
            return matrix
        if gap > 100 * np.sqrt(jnp.finfo(matrix.dtype).eps) * top:
            raise ValueError(
                f"{name} must be symmetric, got entries that differ from their mirror image by up"
                f" to {gap:.2g}: pass the kernel of the training points with themselves"
            )
    return symmetric_part(matrix)


@jax.jit
def symmetric_part(matrix: Array) -> Array:
    """The mean of matrices `[..., n, n]` and their transposes."""
    return (matrix + jnp.swapaxes(matrix, -1, -2)) / 2


def _asymmetry(matrix: np.ndarray) -> tuple[float, float]:
    """How far the entries are from their mirror images, and the largest; by parts, in few bytes."""
    gap = top = 0.0
    for i in range(0, len(matrix), _PART):
        for j in range(0, i + 1, _PART):
            part = matrix[i : i + _PART, j : j + _PART]
            mirror = matrix[j : j + _PART, i : i + _PART].T
            gap = max(gap, float(np.max(np.abs(part - mirror))))
            top = max(top, float(np.max(np.abs(part))), float(np.max(np.abs(mirror))))
    return gap, top


def cholesky_factor(matrix: Array, name: str, regularizer: Regularizer) -> Array:
    """The lower Cholesky factor of a matrix, regularised.

    Raises ValueError where a concrete matrix is not positive definite in its dtype. A traced matrix
    (under a caller's jit, grad or vmap) has no values to look at: its factor is then NaN.
    """
    shift = shift_of(matrix, regularizer)
    factor = _lower(matrix, shift)
    if is_concrete(factor) and not _is_factor(factor, np.diagonal(matrix) + np.asarray(shift)):

        def succeeds(other: Array) -> bool:
            return _is_factor(_lower(other, jnp.zeros_like(shift)), np.diagonal(other))

        raise not_positive_definite(matrix, name, regularizer, succeeds)
    return factor


@jax.jit
def _lower(matrix: Array, shift: Array) -> Array:
    """In one program, so that the factor takes the place of the shifted matrix."""
    return jnp.linalg.cholesky(shifted(matrix, shift), symmetrize_input=False)


def _is_factor(factor: Array, diagonal: np.ndarray) -> bool:
    """Whether the matrix of a diagonal was positive definite."""
    pivots = np.diagonal(np.asarray(factor)) ** 2
    # A pivot is what is left of a diagonal entry: below a few roundings of it, it is noise.
    noise = 4 * float(jnp.finfo(factor.dtype).eps) * diagonal
    return bool(np.all(pivots > noise))


def cholesky_solve(factor: Array, right: Array) -> Array:
    """The solution X of (L Lᵀ) X = right, for the lower factor L."""
    return jax.scipy.linalg.cho_solve((factor, True), right)


def not_positive_definite(
    matrix: Array, name: str, regularizer: Regularizer, succeeds: Callable[[Array], bool]
) -> ValueError:
    """The error for a matrix that, regularised, has an eigenvalue too small for its dtype.

    `succeeds(full)` says whether the solve that failed would succeed with a regularised matrix.
    """
    values = np.asarray(regularized(matrix, regularizer), np.float64)
    eigenvalues = np.linalg.eigvalsh(values)
    low, high = float(eigenvalues[0]), float(eigenvalues[-1])
    before = float(regularizer.strength)
    mend = "its diagonal is not positive, so this is not the kernel of training points"
    unit = float(regularizer.unit(matrix))
    if unit > 0:
        rounding = float(jnp.finfo(matrix.dtype).eps) * len(values) ** 0.5 * abs(high)
        guess = before + 1.05 * (max(-low, 0.0) + rounding) / unit
        strength = smallest_strength(matrix, regularizer, guess, succeeds)
        if strength is not None:
            mend = f"{regularizer.name}={strength:.1e} would do{_wider(matrix)}"
            if not regularizer.name:
                mend = f"{strength:.1e} on its diagonal would do{_wider(matrix)}"
    condition = high / abs(low) if low else float("inf")
    given = f" with {regularizer.name}={before:g}" if regularizer.name else ""
    return ValueError(
        f"{name}{given} is not positive definite in {matrix.dtype}: its"
        f" smallest eigenvalue is {low:.3g}, its largest {high:.3g}, its condition number"
        f" {condition:.2g}. Training points may be equal or nearly so: {mend}"
    )


def _wider(matrix: Array) -> str:
    """The advice to compute in float64, where that is not done already."""
    if matrix.dtype == jnp.float64:
        return ""
    if default_float() == np.float64:
        return ", or kernels in float64 (ntkjax.config.dtype = 'widest')"
    return ", or float64 (jax_enable_x64)"
