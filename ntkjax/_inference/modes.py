"""The modes of a training kernel: eigenvalues and eigenvectors, and whether training settles."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._jax_compat import is_concrete
from ntkjax._solve.failure import not_positive_definite
from ntkjax._solve.regularizer import Regularizer, shift_of, shifted
from ntkjax._solve.semi_definite import is_semi_definite


class Modes(NamedTuple):
    """Eigenvalues `(n,)` and eigenvectors, the columns of `(n, n)`, of a symmetric matrix."""

    values: Array
    vectors: Array


def modes_of(matrix: Array, name: str, regularizer: Regularizer) -> Modes:
    """Eigendecomposition of a positive semi-definite matrix, regularised.

    Eigenvalues that are negative by no more than rounding become zero; a concrete matrix with
    others raises ValueError, since the flow of that mode would grow without bound.
    """
    values, vectors = _eigh(matrix, shift_of(matrix, regularizer))
    if is_concrete(values) and not _is_bounded(values):
        raise not_positive_definite(
            matrix, name, regularizer, lambda full: _is_bounded(jnp.linalg.eigvalsh(full))
        )
    return Modes(jnp.maximum(values, 0), vectors)


@jax.jit
def _eigh(matrix: Array, shift: Array) -> tuple[Array, Array]:
    """In one program, so that the eigenvectors take the place of the shifted matrix."""
    values, vectors = jnp.linalg.eigh(shifted(matrix, shift), symmetrize_input=False)
    return values, vectors


def _is_bounded(eigenvalues: Array) -> bool:
    """Whether no mode grows: none is negative by more than rounding."""
    values = np.asarray(eigenvalues)
    return is_semi_definite(values, float(np.finfo(values.dtype).eps))


def check_converges(modes: Modes, matrix: Array, name: str, regularizer: Regularizer) -> None:
    """Raises ValueError where a concrete matrix, of these modes, has one that never settles."""
    if is_concrete(modes) and not _settles(modes.values):
        raise not_positive_definite(
            matrix, name, regularizer, lambda full: _settles(jnp.linalg.eigvalsh(full))
        )


def _settles(eigenvalues: Array) -> bool:
    """Whether every mode does: eigenvalues in ascending order are positive beyond rounding."""
    values = np.asarray(eigenvalues)
    return bool(values[0] > float(np.finfo(values.dtype).eps) * values[-1])
