"""Targets and kernels of any shape, as matrices.

Targets have some axes along which the kernel is the identity (`trace_axes`, as a rule the channels)
and others that the kernel pairs. As a matrix, targets have a row for each place on the paired axes
and a column for each place on the traced ones. A kernel holds its paired axes interleaved,
`(a1, a1', a2, a2', ...)`; as a matrix it has rows `(a1, a2, ...)` and columns `(a1', a2', ...)`.
"""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.arrays import describe


@dataclasses.dataclass(frozen=True)
class Layout:
    """How targets of `shape` are laid out, with the axes in `traced` absent from kernels."""

    shape: tuple[int, ...]
    traced: tuple[int, ...]

    @property
    def paired(self) -> tuple[int, ...]:
        """The axes of the targets that a kernel pairs."""
        return tuple(a for a in range(len(self.shape)) if a not in self.traced)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Lengths of the paired axes."""
        return tuple(self.shape[a] for a in self.paired)

    @property
    def column_shape(self) -> tuple[int, ...]:
        """Lengths of the traced axes."""
        return tuple(self.shape[a] for a in self.traced)

    def target_matrix(self, y: Array) -> Array:
        """Targets as a matrix."""
        return y.transpose(*self.paired, *self.traced).reshape(
            math.prod(self.row_shape), math.prod(self.column_shape)
        )

    def outputs(self, matrix: Array, row_shape: tuple[int, ...]) -> Array:
        """A matrix `[..., rows, columns]` at points of `row_shape`, laid out as the targets."""
        lead = matrix.shape[:-2]
        array = matrix.reshape(*lead, *row_shape, *self.column_shape)
        order = sorted(range(len(self.shape)), key=(*self.paired, *self.traced).__getitem__)
        return array.transpose(*range(len(lead)), *[len(lead) + a for a in order])

    def output_shape(self, row_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of outputs at points of `row_shape`."""
        lengths = dict(zip(self.paired, row_shape, strict=True))
        return tuple(lengths.get(a, n) for a, n in enumerate(self.shape))

    def cross_matrix(self, kernel: Array, name: str) -> tuple[Array, tuple[int, ...]]:
        """A kernel of some points with the training points, as a matrix, and its `row_shape`."""
        expected = ", ".join(
            f"{'n_test' if i == 0 else n}, {n}" for i, n in enumerate(self.row_shape)
        )
        if kernel.ndim != 2 * len(self.paired) or kernel.shape[1::2] != self.row_shape:
            raise ValueError(
                f"{name} has shape {kernel.shape}, expected ({expected}): {self._mend()}"
            )
        return deinterleaved(kernel), kernel.shape[::2]

    def square_matrix(self, kernel: Array, name: str, row_shape: tuple[int, ...]) -> Array:
        """A kernel between points of `row_shape` and themselves, as a matrix."""
        expected = tuple(n for n in row_shape for _ in range(2))
        if kernel.shape != expected:
            raise ValueError(
                f"{name} has shape {kernel.shape}, expected {expected}: {self._mend()}"
            )
        return deinterleaved(kernel)

    def _mend(self) -> str:
        return (
            f"with y_train of shape {self.shape} and trace_axes={self.traced} a kernel has a pair"
            f" of axes for each of the axes {self.paired} of y_train, so pass the kernel of the"
            " same points, or set trace_axes to the axes of y_train that the kernel lacks"
        )


def deinterleaved(kernel: Array) -> Array:
    """A kernel `(a1, a1', a2, a2', ...)` as a matrix; one that is a matrix is not copied."""
    if kernel.ndim == 2:
        return kernel
    rows, columns = range(0, kernel.ndim, 2), range(1, kernel.ndim, 2)
    return kernel.transpose(*rows, *columns).reshape(
        math.prod(kernel.shape[::2]), math.prod(kernel.shape[1::2])
    )


def interleaved(matrix: Array, row_shape: tuple[int, ...]) -> Array:
    """A square matrix `[..., rows, rows]` as a kernel `[..., a1, a1', a2, a2', ...]`."""
    lead, m = matrix.shape[:-2], len(row_shape)
    array = matrix.reshape(*lead, *row_shape, *row_shape)
    order = [len(lead) + a for i in range(m) for a in (i, m + i)]
    return array.transpose(*range(len(lead)), *order)


def _axes(trace_axes: Any) -> tuple[int, ...]:
    """The axes as a tuple of integers; one by itself is one of them."""
    axes = np.atleast_1d(np.asarray(trace_axes, object))
    if axes.ndim != 1 or not all(isinstance(axis, (int, np.integer)) for axis in axes):
        raise TypeError(
            f"trace_axes must be an integer or a tuple of integers, got {describe(trace_axes)}: "
            "pass trace_axes=(-1,) for a kernel that lacks the axis of outputs"
        )
    return tuple(int(axis) for axis in axes)


def layout_of(y: Array, trace_axes: Any) -> Layout:
    """The layout of targets `y`; raises where `trace_axes` does not name axes of it."""
    axes = _axes(trace_axes)
    traced = tuple(sorted({a % y.ndim for a in axes})) if y.ndim else ()
    if y.ndim == 0 or any(not -y.ndim <= a < y.ndim for a in axes):
        raise ValueError(
            f"trace_axes must name axes of y_train, got trace_axes={trace_axes} and"
            f" y_train of shape {jnp.shape(y)}: pass y_train of shape (n_train, n_outputs) and"
            " trace_axes=(-1,)"
        )
    if len(traced) == y.ndim == 1:  # Of more axes, all may be traced: the kernel is a number.
        raise ValueError(
            f"trace_axes={trace_axes} leaves no axis of y_train, of shape {jnp.shape(y)}, for the"
            " kernel: pass y_train[:, None], or trace_axes=()"
        )
    return Layout(y.shape, traced)
