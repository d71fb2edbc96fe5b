r"""Errors on new points, estimated from the points at hand, by an eigendecomposition.

The residuals of kernel ridge regression are :math:`r (K + r)^{-1} y`, and that of a point which is
left out is its residual divided by that entry of the diagonal of :math:`r (K + r)^{-1}`. The ridge
r cancels, so that its limit 0 takes the same formulas.
"""

from typing import Any

import numpy as np


def leave_one_out(
    values: np.ndarray, vectors: np.ndarray, targets: np.ndarray, ridge: np.ndarray
) -> Any:
    """Mean squared errors of leave-one-out of a kernel with these eigenvalues, for each ridge."""
    projected, squares = vectors.T @ targets, vectors**2

    def error(strength: float) -> float:
        inverse = _inverse(values, strength)
        residuals = vectors @ (inverse[:, None] * projected)
        return float(np.mean((residuals / (squares @ inverse)[:, None]) ** 2))

    return _each(error, ridge)


def generalized_cross_validation(values: np.ndarray, power: np.ndarray, ridge: np.ndarray) -> Any:
    """Of a kernel with these eigenvalues and targets with this power in each mode."""

    def error(strength: float) -> float:
        inverse = _inverse(values, strength)
        return float(np.sum(inverse**2 * power) / np.mean(inverse) ** 2)

    return _each(error, ridge)


def _each(error: Any, ridge: np.ndarray) -> Any:
    found = np.array([error(float(strength)) for strength in ridge.ravel()])
    return found.reshape(ridge.shape) if ridge.ndim else float(found[0])


def _inverse(values: np.ndarray, ridge: float) -> np.ndarray:
    """The eigenvalues of the inverse of K + r, but for a common factor."""
    shifted = values + ridge
    smallest = float(shifted.min())
    if smallest <= len(values) * np.finfo(float).eps * float(shifted.max()):
        raise ValueError(
            f"ridge={ridge:g} leaves the kernel singular: its eigenvalues with the ridge are from "
            f"{smallest:.3g} to {float(shifted.max()):.3g}; pass a larger ridge, such as "
            f"{1e-10 * max(float(shifted.max()), 1e-30):.0e}"
        )
    return smallest / shifted
