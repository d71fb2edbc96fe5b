"""A kernel of training points, factorized: the one way in which the library inverts matrices."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._jax_compat import is_concrete
from ntkjax._solve.failure import check_fits, not_positive_definite
from ntkjax._solve.host import factors_here, host_cholesky
from ntkjax._solve.ladder import (
    CHOLESKY,
    EIGEN,
    JITTER,
    cholesky,
    eigen_factor,
    is_factor,
    jitters,
    laddered,
    notes_of,
    rounding,
)
from ntkjax._solve.regularizer import Regularizer, diagonal_of, shift_of, shifted
from ntkjax._solve.report import SolveReport, report_of


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Factor:
    """An upper triangle U with Uᵀ U the matrix, and how it came about.

    U by rows is its transpose by columns, as LAPACK takes it: so solves copy no matrix.
    """

    upper: Array
    notes: Array

    @property
    def lower(self) -> Array:
        """L = Uᵀ with L Lᵀ the matrix; outside of `jit`, a copy."""
        return self.upper.T

    def solve(self, right: Array) -> Array:
        """The inverse of the matrix, times `right`."""
        return factor_solve(self.upper, right)

    def whiten(self, right: Array) -> Array:
        """L⁻¹ times `right`: what has that covariance then has that of the identity."""
        return whitened(self.upper, right)

    def log_det(self) -> Array:
        """The logarithm of the determinant of the matrix."""
        return 2 * jnp.sum(jnp.log(diagonal_of(self.upper)))

    def report(self) -> SolveReport:
        """Method, jitter, extreme eigenvalues; it costs some sixty solves with one vector."""
        return report_of(self.upper, self.notes)

    @property
    def jitter(self) -> Array:
        """What was added to the diagonal beyond the regulariser."""
        return self.notes[1]

    @property
    def is_definite(self) -> Array:
        """Whether no eigenvalue of the matrix was negative beyond rounding."""
        return self.notes[2] >= self.notes[3]


def factor_of(lower: Array, notes: Array) -> Factor:
    """What `laddered` returns, as a factor."""
    return Factor(lower.T, notes)


def factorized(matrix: Array, name: str, regularizer: Regularizer, *, mends: bool) -> Factor:
    """The factor of a symmetric matrix, regularised.

    Of a concrete matrix that is not positive definite in its dtype: where `mends` is set, what
    `ladder` makes of it if no eigenvalue is negative beyond rounding; else the error that says
    which argument would do. A traced matrix has no values that an error could depend on: it is
    always mended, and the report says how.
    """
    shift = shift_of(matrix, regularizer)
    if not is_concrete((matrix, shift)):
        return factor_of(*laddered(shifted(matrix, shift)))
    check_fits(matrix, name, regularizer, shift)
    found = _plain(matrix, shift)
    if found is None and mends:
        found = _mended(matrix, shift)
    if found is not None:
        return found

    def succeeds(other: Array) -> bool:
        zero = jnp.zeros_like(shift)
        return _plain(other, zero) is not None or (mends and _mended(other, zero) is not None)

    tried = float(jitters(diagonal_of(matrix) + shift)[1]) if mends else 0.0
    raise not_positive_definite(matrix, name, regularizer, succeeds, tried)


def _plain(matrix: Array, shift: Array) -> Factor | None:
    """The Cholesky factor, or None."""
    return _of_step(matrix, shift, jnp.zeros_like(shift), CHOLESKY)


def _of_step(matrix: Array, shift: Array, jitter: Array, step: int) -> Factor | None:
    added = shift + jitter
    if factors_here(matrix):
        upper = host_cholesky(matrix, added)
        if upper is None:
            return None
    else:
        upper = _upper(matrix, added)
    stands = is_factor(upper, diagonal_of(matrix) + added)
    return Factor(upper, notes_of(step, jitter, 0, upper)) if stands else None


def _mended(matrix: Array, shift: Array) -> Factor | None:
    """The factor with jitter or by eigenvalues; None where one is negative beyond rounding."""
    diagonal = diagonal_of(matrix) + shift
    if not np.max(diagonal) > 0:
        return None  # All zero: there is nothing of which a jitter would be a rounding.
    jitter, last = jitters(diagonal)
    while jitter <= last:
        found = _of_step(matrix, shift, jitter, JITTER)
        if found is not None:
            return found
        jitter = 10 * jitter
    lower, values, raised = eigen_factor(matrix, shift)
    found = factor_of(lower, notes_of(EIGEN, raised, values[0], lower, -rounding(values)))
    return found if found.is_definite else None


@jax.jit
def _upper(matrix: Array, shift: Array) -> Array:
    return cholesky(matrix, shift).T


@jax.jit
def factor_solve(upper: Array, right: Array) -> Array:
    """The solution X of (Uᵀ U) X = right, for the upper factor U."""
    return cholesky_solve(upper.T, right)


@jax.jit
def whitened(upper: Array, right: Array) -> Array:
    """The solution X of Uᵀ X = right, for an upper triangle U."""
    return jax.scipy.linalg.solve_triangular(upper.T, right, lower=True)


def cholesky_solve(lower: Array, right: Array) -> Array:
    """The solution X of (L Lᵀ) X = right, for the lower factor L."""
    return jax.scipy.linalg.cho_solve((lower, True), right)
