"""Twins of layers that choose or mix positions by fixed weights: matrices, written out."""

import functools

import numpy as np

from tests.contract.twins import Kernels, Twin, linear


def along_axes(*matrices: np.ndarray | None) -> Twin:
    """One matrix (outputs, inputs) for each spatial axis; None for an axis that stays."""

    def twin(k: Kernels) -> Kernels:
        each = [
            np.eye(size) if matrix is None else np.asarray(matrix, float)
            for matrix, size in zip(matrices, k.sizes, strict=True)
        ]
        return linear(k, functools.reduce(np.kron, each), tuple(len(m) for m in each))

    return twin


def without_axes(*axes: int) -> Twin:
    """Spatial axes of one position go away."""

    def twin(k: Kernels) -> Kernels:
        sizes = tuple(n for axis, n in enumerate(k.sizes) if axis not in axes)
        return linear(k, np.eye(int(np.prod(k.sizes))), sizes)

    return twin


def chosen(size: int, positions: list[int]) -> np.ndarray:
    """The matrix of some of the positions of an axis."""
    return np.array([[float(p == q) for q in range(size)] for p in positions])


def triangle(size: int, size_out: int, *, widens: bool) -> np.ndarray:
    """Linear interpolation; when an axis shrinks, over a triangle as wide as an output position."""
    step = size / size_out
    width = max(step, 1.0) if widens else 1.0
    centres = (np.arange(size_out) + 0.5) * step - 0.5
    weights = np.maximum(1 - np.abs(centres[:, None] - np.arange(size)) / width, 0)
    return weights / weights.sum(1, keepdims=True)
