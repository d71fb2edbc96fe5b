"""Weighted ridge regression on a kernel matrix, in float64."""

import numpy as np
from scipy import linalg

from ntkjax._solve.semi_definite import is_semi_definite

EPSILON = float(np.finfo(float).eps)


def check_semi_definite(owner: str, values: np.ndarray) -> None:
    """Raises where eigenvalues in ascending order are negative by more than rounding."""
    if not is_semi_definite(values, EPSILON):
        raise ValueError(
            f"{owner}: the kernel of the network is indefinite: its eigenvalues are from "
            f"{values[0]:.3g} to {values[-1]:.3g}; pass a network whose kernel is positive "
            "semi-definite."
        )


def ridge_coefficients(
    owner: str, kernel: np.ndarray, targets: np.ndarray, alpha: float, weights: np.ndarray | None
) -> np.ndarray:
    r"""The coefficients a of :math:`f(x) = \sum_i K(x, x_i) a_i` for targets (n, outputs).

    They minimise :math:`\sum_i w_i (y_i - f(x_i))^2 + \alpha \lVert f \rVert^2`, that is, with
    :math:`S = \sqrt{W}`,

    .. math::
        a = S (S K S + \alpha)^{-1} S y.

    By Cholesky; a matrix that is singular to rounding is solved by its eigenvalues, which gives the
    smallest f of those that fit best. An eigenvalue below zero by more than rounding is an error.
    """
    root = np.ones(len(kernel)) if weights is None else np.sqrt(weights)
    matrix = root[:, None] * kernel * root
    matrix[np.diag_indices_from(matrix)] += alpha
    rounding = len(matrix) * EPSILON
    scaled = root[:, None] * targets
    try:
        factor, lower = linalg.cho_factor(matrix, lower=True)
        pivots = np.diagonal(factor) ** 2
        if pivots.min() > rounding * pivots.max():
            return root[:, None] * linalg.cho_solve((factor, lower), scaled)
    except linalg.LinAlgError:
        pass
    values, vectors = linalg.eigh(matrix)
    if not is_semi_definite(values, EPSILON):
        raise ValueError(
            f"{owner}: the kernel matrix plus alpha={alpha:g} is indefinite: its eigenvalues are "
            f"from {values[0]:.3g} to {values[-1]:.3g}; pass alpha of at least "
            f"{alpha - 2 * values[0]:.3g}, or a network whose kernel is positive semi-definite."
        )
    kept = values > rounding * np.max(np.abs(values))
    inverse = np.where(kept, 1 / np.where(kept, values, 1.0), 0.0)
    return root[:, None] * (vectors @ (inverse[:, None] * (vectors.T @ scaled)))
