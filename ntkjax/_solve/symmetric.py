"""Symmetric matrices as callers hand them over: checks, symmetric parts, exact products."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._jax_compat import is_concrete
from ntkjax._kernel.arrays import check_finite

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
