"""What is said of a matrix that is not positive definite, and the `diag_reg` that would do."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._jax_compat import is_concrete
from ntkjax._kernel.arrays import default_float
from ntkjax._solve.regularizer import (
    Regularizer,
    diagonal_of,
    regularized,
    smallest_strength,
)


class NotPositiveDefiniteError(ValueError):
    """A kernel of training points that cannot be inverted in its dtype.

    Args:
      message: what is wrong and what to do about it.
      smallest_eigenvalue: that of the kernel, with what the caller adds to its diagonal.
      condition_number: the largest magnitude of an eigenvalue divided by the smallest.
      jitter: the largest addition to the diagonal that was tried; 0 where none was.
      diag_reg: the smallest argument that would do, of two digits; None where none would.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax.predict import NotPositiveDefiniteError, solve
      >>> try:
      ...     solve(jnp.array([[1.0, 2.0], [2.0, 1.0]]), jnp.ones(2))
      ... except NotPositiveDefiniteError as error:
      ...     print(round(error.smallest_eigenvalue, 3), error.diag_reg)
      -1.0 1.1
    """

    def __init__(
        self,
        message: str,
        smallest_eigenvalue: float,
        condition_number: float,
        jitter: float,
        diag_reg: float | None,
    ) -> None:
        super().__init__(message)
        self.smallest_eigenvalue = smallest_eigenvalue
        self.condition_number = condition_number
        self.jitter = jitter
        self.diag_reg = diag_reg

    def __reduce__(self) -> tuple:
        values = self.smallest_eigenvalue, self.condition_number, self.jitter, self.diag_reg
        return type(self), (str(self), *values)


def condition_number(eigenvalues: np.ndarray) -> float:
    """That of a symmetric matrix, of whatever signs its eigenvalues are."""
    sizes = np.abs(np.asarray(eigenvalues, np.float64))
    return float(np.max(sizes) / np.min(sizes)) if np.all(sizes) else float("inf")


def check_fits(matrix: Array, name: str, regularizer: Regularizer, shift: Array) -> None:
    """Raises ValueError where a diagonal overflows with what is added to it."""
    with np.errstate(over="ignore"):
        if np.all(np.isfinite(np.asarray(diagonal_of(matrix)) + np.asarray(shift))):
            return
    raise ValueError(
        f"{name} with {regularizer.name}={np.max(regularizer.strength):g} overflows {matrix.dtype} "
        f"on its diagonal: pass a smaller {regularizer.name}, or a kernel in smaller units"
    )


def check_solution(name: str, solution: Array) -> None:
    """Raises ValueError where a solution that has values is not finite, of finite numbers."""
    if is_concrete(solution) and not np.all(np.isfinite(np.asarray(solution))):
        raise ValueError(
            f"{name} is so small beside the targets that the solution overflows "
            f"{solution.dtype}: pass a kernel in larger units, or targets in smaller ones"
        )


def not_positive_definite(
    matrix: Array,
    name: str,
    regularizer: Regularizer,
    succeeds: Callable[[Array], bool],
    jitter: float = 0.0,
) -> NotPositiveDefiniteError:
    """The error for a matrix that, regularised, has an eigenvalue too small for its dtype.

    `succeeds(full)` says whether the solve that failed would succeed with a regularised matrix;
    `jitter` is the most that was added to its diagonal in vain.
    """
    values = np.asarray(regularized(matrix, regularizer), np.float64)
    eigenvalues = np.linalg.eigvalsh(values)
    low, high = float(eigenvalues[0]), float(eigenvalues[-1])
    before, strength = float(regularizer.strength), None
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
    condition = condition_number(eigenvalues)
    given = f" with {regularizer.name}={before:g}" if regularizer.name else ""
    tried = f", and {jitter:.2g} on its diagonal was not enough" if jitter else ""
    return NotPositiveDefiniteError(
        f"{name}{given} is not positive definite in {matrix.dtype}: its"
        f" smallest eigenvalue is {low:.3g}, its largest {high:.3g}, its condition number"
        f" {condition:.2g}{tried}. Training points may be equal or nearly so: {mend}",
        low,
        condition,
        jitter,
        strength,
    )


def _wider(matrix: Array) -> str:
    """The advice to compute in float64, where that is not done already."""
    if matrix.dtype == jnp.float64:
        return ""
    if default_float() == np.float64:
        return ", or kernels in float64 (ntkjax.config.dtype = 'widest')"
    return ", or float64 (jax_enable_x64)"
