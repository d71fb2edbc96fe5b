"""Gradient flow of a linear model on the mean squared error, in the eigenbasis of its kernel.

Outputs f on the training points obey df/dt = -K (f - y), so after a scaled time s
f(s) = exp(-s K) f(0) + (1 - exp(-s K)) y (Lee et al. 2019, arXiv 1902.06720, section 2.2).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._jax_compat import is_concrete
from ntkjax._solve.failure import not_positive_definite
from ntkjax._solve.regularizer import Regularizer, shift_of, shifted


class Spectrum(NamedTuple):
    """Eigenvalues `(n,)` and eigenvectors, the columns of `(n, n)`, of a symmetric matrix."""

    values: Array
    vectors: Array


def spectrum(matrix: Array, name: str, regularizer: Regularizer) -> Spectrum:
    """Eigendecomposition of a positive semi-definite matrix, regularised.

    Eigenvalues that are negative by no more than rounding become zero; a concrete matrix with
    others raises ValueError, since the flow of that mode would grow without bound.
    """
    values, vectors = _eigh(matrix, shift_of(matrix, regularizer))
    if is_concrete(values) and not _is_bounded(values):
        raise not_positive_definite(
            matrix, name, regularizer, lambda full: _is_bounded(jnp.linalg.eigvalsh(full))
        )
    return Spectrum(jnp.maximum(values, 0), vectors)


@jax.jit
def _eigh(matrix: Array, shift: Array) -> tuple[Array, Array]:
    """In one program, so that the eigenvectors take the place of the shifted matrix."""
    values, vectors = jnp.linalg.eigh(shifted(matrix, shift), symmetrize_input=False)
    return values, vectors


def _is_bounded(eigenvalues: Array) -> bool:
    """Whether no mode grows: eigenvalues in ascending order are negative by rounding alone."""
    values = np.asarray(eigenvalues)
    rounding = 10 * float(np.finfo(values.dtype).eps) * len(values) * float(np.max(np.abs(values)))
    return bool(values[0] >= -rounding)


def check_converges(modes: Spectrum, matrix: Array, name: str, regularizer: Regularizer) -> None:
    """Raises ValueError where a concrete matrix, of these modes, has one that never settles."""
    if is_concrete(modes) and not _settles(modes.values):
        raise not_positive_definite(
            matrix, name, regularizer, lambda full: _settles(jnp.linalg.eigvalsh(full))
        )


def _settles(eigenvalues: Array) -> bool:
    """Whether every mode does: eigenvalues in ascending order are positive beyond rounding."""
    values = np.asarray(eigenvalues)
    return bool(values[0] > float(np.finfo(values.dtype).eps) * values[-1])


def decay(values: Array, s: Array) -> Array:
    """exp(-s value): what is left of the initial outputs in each mode."""
    # At infinite time a mode of eigenvalue zero still stands where it was.
    still = values == 0
    return jnp.where(still, 1.0, jnp.exp(-s * jnp.where(still, 1.0, values)))


def learned(values: Array, s: Array) -> Array:
    """1 - exp(-s value): the share of the targets that each mode has learned."""
    still = values == 0
    return jnp.where(still, 0.0, -jnp.expm1(-s * jnp.where(still, 1.0, values)))


def response(values: Array, s: Array) -> Array:
    """(1 - exp(-s value)) / value: what a unit of target adds to the weights of each mode.

    At infinite time a mode whose eigenvalue is below rounding adds nothing: points see none of it.
    """
    still = values == 0
    safe = jnp.where(still, 1.0, values)
    unseen = jnp.isinf(s) & (values <= jnp.finfo(values.dtype).eps * jnp.max(values))
    return jnp.where(unseen, 0.0, jnp.where(still, s, -jnp.expm1(-s * safe) / safe))
