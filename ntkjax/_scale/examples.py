"""Some examples of what a kernel function takes: of arrays, of trees of them, of kernels.

Examples lie along the first axis. Of five examples and the slice 2:4, an array (5, 8) becomes
(2, 8); the kernel of five and of three examples becomes that of two and of some of the three.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.arrays import describe, is_numbers

#: Fields of a kernel whose first two axes are pairs of examples.
PAIRS = ("nngp", "ntk", "distance")
#: Fields whose first axis are the examples of one batch.
FIRST, SECOND = ("cov1", "mask1"), ("cov2", "mask2")


def as_tree(x: Any) -> Any:
    """Inputs as a tree of arrays; nested lists of numbers are one array."""
    return np.asarray(x) if isinstance(x, list) and is_numbers(x) else x


def count(name: str, x: Any) -> int:
    """The number of examples of a tree of arrays."""
    counts = {np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in jax.tree.leaves(x)}
    if len(counts) != 1 or 0 in counts:
        shapes = [np.shape(leaf) for leaf in jax.tree.leaves(x)]
        raise ValueError(
            f"batch: {name} has arrays of shapes {shapes}, expected the same number of examples,"
            " at least one, along the first axis of each; pass arrays of shape (n, ...)."
        )
    return counts.pop()


def cut(x: Any, part: slice) -> Any:
    """Some examples of a tree of arrays."""
    return jax.tree.map(lambda leaf: leaf[part], x)


def cut_kernel(kernel: Kernel, rows: slice, columns: slice) -> Kernel:
    """The kernel of some first and some second examples."""
    changes: dict[str, Any] = {}
    for name in (*PAIRS, *FIRST, *SECOND):
        array = getattr(kernel, name)
        if array is not None:
            part = (rows, columns) if name in PAIRS else rows if name in FIRST else columns
            changes[name] = array[part]
    if rows != columns:
        changes["x1_is_x2"] = jnp.asarray(False)
        if kernel.cov2 is None and kernel.cov1 is not None:
            changes["cov2"] = kernel.cov1[columns]
    shape1, shape2 = list(kernel.shape1), list(kernel.shape2)
    shape1[kernel.batch_axis] = rows.stop - rows.start
    shape2[kernel.batch_axis] = columns.stop - columns.start
    return dataclasses.replace(kernel, shape1=tuple(shape1), shape2=tuple(shape2), **changes)


def cut_keywords(
    keywords: Mapping[str, Any], counts: tuple[int, int], rows: slice, columns: slice
) -> dict[str, Any]:
    """Keywords of some examples: pairs of arrays, for x1 and for x2, are cut with them."""

    def one(value: Any) -> Any:
        is_pair = isinstance(value, tuple) and len(value) == 2
        if not is_pair or not all(np.ndim(v) and np.shape(v)[0] == n
                                  for v, n in zip(value, counts, strict=True)):  # fmt: skip
            return value
        return value[0][rows], value[1][columns]

    return {name: one(value) for name, value in keywords.items()}


def parts_of(n: int, size: int) -> list[slice]:
    """Slices of at most `size` of n examples, all but the last of one length.

    A kernel function is compiled for each length of a batch.
    """
    length = -(-n // -(-n // size))
    return [slice(start, min(start + length, n)) for start in range(0, n, length)]


def checked_size(name: str, value: Any, least: int, meaning: str) -> int:
    """An integer of at least `least`; `meaning` says what such numbers mean."""
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_integer or value < least:
        raise ValueError(
            f"batch: {name}={describe(value)}, expected an integer of at least {least}; {meaning}."
        )
    return int(value)
