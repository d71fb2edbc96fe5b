"""Which axes of a network's output a kernel pairs, traces over or keeps the diagonal of.

A kernel of outputs y1 and y2 has, for each axis of the output in order: nothing for a traced axis
(its diagonal is averaged), one axis for a diagonal one, and two, of y1 and of y2, for any other.
"""

import dataclasses
import math
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.arrays import describe


@dataclasses.dataclass(frozen=True)
class OutputAxes:
    """The role of each axis of outputs of `shape1` and `shape2`."""

    shape1: tuple[int, ...]
    shape2: tuple[int, ...]
    traced: tuple[int, ...]
    diagonal: tuple[int, ...]

    @property
    def shared(self) -> tuple[int, ...]:
        """Axes along which only equal places of y1 and y2 meet, in order."""
        return tuple(sorted(self.traced + self.diagonal))

    @property
    def paired(self) -> tuple[int, ...]:
        """Axes along which all places of y1 meet all places of y2, in order."""
        return tuple(a for a in range(len(self.shape1)) if a not in self.shared)

    @property
    def diagonal_shape(self) -> tuple[int, ...]:
        """Lengths of the diagonal axes."""
        return tuple(self.shape1[a] for a in self.diagonal)

    @property
    def traced_shape(self) -> tuple[int, ...]:
        """Lengths of the traced axes."""
        return tuple(self.shape1[a] for a in self.traced)

    def paired_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Lengths of the paired axes of an output of `shape`."""
        return tuple(shape[a] for a in self.paired)

    def without(self, axis: int) -> "OutputAxes":
        """The roles of the other axes, once `axis` is removed from both outputs."""

        def drop(shape: tuple[int, ...]) -> tuple[int, ...]:
            return shape[:axis] + shape[axis + 1 :]

        def shift(axes: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(a - (a > axis) for a in axes if a != axis)

        return OutputAxes(
            drop(self.shape1), drop(self.shape2), shift(self.traced), shift(self.diagonal)
        )

    def cotangents(
        self, shape: tuple[int, ...], paired: Array, diagonal: Array, traced: Array, dtype: Any
    ) -> Array:
        """One at flat places of an output of `shape`, else zero.

        Returns (paired, diagonal, traced, *shape), for all combinations of these places.
        """
        sizes = self.paired_shape(shape), self.diagonal_shape, self.traced_shape
        units = [
            jax.nn.one_hot(places, math.prod(size), dtype=dtype).reshape(-1, *size)
            for places, size in zip((paired, diagonal, traced), sizes, strict=True)
        ]
        every = jnp.multiply.outer(jnp.multiply.outer(units[0], units[1]), units[2])
        n, m = (1 + len(size) for size in sizes[:2])
        axes = (*self.paired, *self.diagonal, *self.traced)
        which = [a for a in range(every.ndim) if a not in (0, n, n + m)]
        order = [which[axes.index(axis)] for axis in range(len(shape))]
        return every.transpose(0, n, n + m, *order)

    def select(self, y: Array, diagonal: Array, traced: Array) -> Array:
        """The entries `[*lead, paired places]` of `[*lead, *output]` at one shared place."""
        lead = y.ndim - len(self.shape1)
        order = (*self.diagonal, *self.traced)
        front = y.transpose(
            *[lead + a for a in order], *range(lead), *[lead + a for a in self.paired]
        )
        paired = math.prod(self.paired_shape(y.shape[lead:]))
        flat = front.reshape(-1, *y.shape[:lead], paired)
        return jnp.take(flat, diagonal * math.prod(self.traced_shape) + traced, axis=0)

    def product(self, y1: Array, y2: Array) -> Array:
        """The kernel that is the outer product of two outputs."""
        rank = len(self.shape1)
        axes1 = list(range(rank))
        axes2 = [a if a in self.shared else rank + a for a in axes1]
        kept = [a for a in axes1 if a not in self.traced]
        result = [i for a in kept for i in ((a,) if a in self.diagonal else (a, rank + a))]
        total = jnp.einsum(y1, axes1, y2, axes2, result, precision=jax.lax.Precision.HIGHEST)
        return total / math.prod(self.shape1[a] for a in self.traced)

    def assemble(self, blocks: Array) -> Array:
        """The kernel from blocks `[diagonal places, paired places of y1, paired places of y2]`."""
        n, m = len(self.diagonal), len(self.paired)
        array = blocks.reshape(
            *self.diagonal_shape, *self.paired_shape(self.shape1), *self.paired_shape(self.shape2)
        )
        order = []
        for axis in range(len(self.shape1)):
            if axis in self.diagonal:
                order.append(self.diagonal.index(axis))
            elif axis in self.paired:
                order += [n + self.paired.index(axis), n + m + self.paired.index(axis)]
        return array.transpose(order)


def output_axes(
    shape1: tuple[int, ...],
    shape2: tuple[int, ...],
    trace_axes: int | Sequence[int],
    diagonal_axes: int | Sequence[int],
) -> OutputAxes:
    """The roles that `trace_axes` and `diagonal_axes` name, or a ValueError."""
    if len(shape1) != len(shape2):
        raise ValueError(
            f"f(x1) and f(x2) must have the same number of axes, got shapes {shape1} and {shape2}:"
            " pass x1 and x2 that differ in batch size alone"
        )
    traced = _axes("trace_axes", trace_axes, shape1)
    diagonal = _axes("diagonal_axes", diagonal_axes, shape1)
    both = sorted(set(traced) & set(diagonal))
    if both:
        raise ValueError(
            f"trace_axes and diagonal_axes must not share an axis, got axis {both[0]} in both, of"
            f" an output of shape {shape1}: pass diagonal_axes=() to average over it"
        )
    for axis in traced + diagonal:
        if shape1[axis] != shape2[axis]:
            raise ValueError(
                f"f(x1) and f(x2) must agree on trace_axes and diagonal_axes, got shapes {shape1}"
                f" and {shape2}, which differ on axis {axis}: pass batches of equal size or drop"
                " the axis"
            )
    return OutputAxes(shape1, shape2, traced, diagonal)


def _axes(name: str, axes: int | Sequence[int], shape: tuple[int, ...]) -> tuple[int, ...]:
    rank = len(shape)
    try:
        given = tuple(map(operator.index, np.ravel(np.asarray(axes, object))))
    except TypeError:
        given = (rank,)
    if not all(-rank <= a < rank for a in given):
        raise ValueError(
            f"{name} must name axes of an output of shape {shape}, got {describe(axes)}: pass axes"
            f" from {-rank} to {rank - 1}, or ()"
        )
    return tuple(sorted({a % rank for a in given}))
