"""A solve with a kernel matrix that says how it went."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from ntkjax._inference.arguments import common_dtype, diagonal_regularizer, float_array
from ntkjax._kernel.arrays import check_finite
from ntkjax._solve.factor import factorized
from ntkjax._solve.refinement import refined_solve
from ntkjax._solve.regularizer import shift_of
from ntkjax._solve.report import SolveReport
from ntkjax._solve.symmetric import symmetrized


class Solution(NamedTuple):
    """The solution of a linear system, and the report of the solve.

    Args:
      x: the solution, of the shape of the right-hand side.
      report: method, jitter, eigenvalues, condition number.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax.predict import solve
      >>> solve(2 * jnp.eye(3), jnp.ones(3)).x.shape
      (3,)
    """

    x: Array
    report: SolveReport


def solve(
    matrix: Any,
    right: Any,
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
) -> Solution:
    r"""Solve a linear system with a kernel matrix, and say how.

    .. math::
        x = (K + r I)^{-1} b

    by Cholesky's factorization. Where rounding has made K singular, a jitter of a few roundings is
    added to its diagonal, and where that fails, eigenvalues below rounding are raised to it. In
    float32 the solution is refined with residuals in float64.

    Args:
      matrix: K, the kernel of some points with themselves, `(n, n)`.
      right: b, `(n,)` or `(n, k)`.
      diag_reg: multiple of the identity that is added to K, at least 0.
      diag_reg_absolute_scale: False: `diag_reg` is in units of the mean of the diagonal of K. True:
        it is added as it is.

    Returns:
      `Solution(x, report)`. The report holds the method, the jitter, the extreme eigenvalues and
      the condition number; inside a caller's `jit` they are values of the program.

    Raises:
      NotPositiveDefiniteError: an eigenvalue is negative beyond rounding; it names this eigenvalue,
        the condition number, the jitter that was tried and the `diag_reg` that would do. Inside a
        caller's `jit` nothing raises: that eigenvalue is in the report.
      ValueError: shapes do not fit; `matrix` is not symmetric; values are not finite; `diag_reg` is
        negative.
      TypeError: an argument is not an array of real numbers.

    Source: Higham 2002, *Accuracy and stability of numerical algorithms*, chapters 10 and 12.

    Example:
      >>> import jax.numpy as jnp
      >>> equal_points = jnp.ones((2, 2))
      >>> x, report = solve(equal_points, jnp.ones(2))
      >>> print(x.round(3), report.method)
      [0.5 0.5] jitter
    """
    given, b = float_array(matrix, "matrix"), float_array(right, "right")
    regularizer = diagonal_regularizer(diag_reg, diag_reg_absolute_scale)
    check_finite("right", b)
    if given.ndim != 2 or given.shape[0] != given.shape[1] or not given.size:
        raise ValueError(
            f"matrix has shape {given.shape}, expected (n, n) with n at least 1: pass the kernel "
            "of some points with themselves"
        )
    if b.ndim not in (1, 2) or len(b) != len(given):
        raise ValueError(
            f"right has shape {b.shape}, expected ({len(given)},) or ({len(given)}, k), as matrix "
            "has that many rows: pass a value for each of the points"
        )
    dtype = common_dtype(b, given)
    full = symmetrized(given.astype(dtype), "matrix")
    factor = factorized(full, "matrix", regularizer, mends=True)
    shift = shift_of(full, regularizer)
    x = refined_solve(factor, full, "matrix", shift, jnp.asarray(b, dtype))
    return Solution(x, factor.report())
