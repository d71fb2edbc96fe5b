"""Whether a symmetric matrix is positive semi-definite, as far as rounding lets one tell."""

import numpy as np

from ntkjax._solve.failure import NotPositiveDefiniteError, condition_number


def is_semi_definite(values: np.ndarray, rounding: float) -> bool:
    """Whether eigenvalues in ascending order are negative by no more than rounding.

    `rounding` is the relative one of a single number of the matrix.
    """
    return bool(values[0] >= -10 * rounding * len(values) * float(np.max(np.abs(values))))


def check_semi_definite(values: np.ndarray, rounding: float, name: str) -> None:
    """Raises where eigenvalues in ascending order are negative by more than rounding."""
    low, high = float(values[0]), float(values[-1])
    if not is_semi_definite(values, rounding):
        raise NotPositiveDefiniteError(
            f"{name} is not positive semi-definite: its smallest eigenvalue is {low:.3g}, its "
            f"largest {high:.3g}: pass the kernel of some points with themselves, of which no "
            "entries were changed",
            low,
            condition_number(values),
            0.0,
            None,
        )
