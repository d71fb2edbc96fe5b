"""Loops over tiles of examples and places, within one program, put together."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntkjax._finite.tiles import Rows


def numbers(count: int, size: int) -> np.ndarray:
    """Numbers of `count` things, (part, size); the last part may go on with 0, 1, ..."""
    parts = -(-count // size)
    return (np.arange(parts * size, dtype=np.int32) % count).reshape(parts, size)


def over(function: Callable[..., Any], *parts: np.ndarray | Array) -> Any:
    """`function` of each part, one after the other, stacked along the first axis."""
    if len(parts[0]) == 1:
        made = function(*[jnp.asarray(part[0]) for part in parts])
        return jax.tree.map(lambda a: a[None], made)
    return lax.map(lambda part: function(*part), tuple(jnp.asarray(part) for part in parts))


def over_rows(
    function: Callable[[Array, Array], Any], rows: Rows, examples: Array, paired: Array, at: Any
) -> Any:
    """`function` of parts of examples and of paired places, put together.

    Args:
      function: from numbers of some examples and of some places to a tree of arrays.
      rows: how many of either make a part; they divide what there is.
      examples: numbers of examples, whose count is a multiple of those of `rows`.
      paired: numbers of places, likewise.
      at: for each array its axes of examples and of places; None for an axis that it does not have.
    """
    parts1, parts2 = (
        a.reshape(-1, n) for a, n in ((examples, rows.examples), (paired, rows.paired))
    )
    made = over(lambda some: over(functools.partial(function, some), parts2), parts1)

    def joined(array: Array, axes: tuple[int, int | None]) -> Array:
        axis1, axis2 = axes
        if axis2 is None:
            return merged(array[:, 0], axis1)
        return merged(merged(jnp.swapaxes(array, 0, 1), axis2 + 1), axis1)

    return jax.tree.map(joined, made, at, is_leaf=lambda a: isinstance(a, jax.Array))


def merged(array: Array, axis: int) -> Array:
    """Parts along the first axis, which follow each other along `axis` of each."""
    if array.shape[0] == 1:
        return array[0]
    array = jnp.moveaxis(array, 0, axis)
    shape = array.shape
    return array.reshape(*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])


def added(function: Callable[[Array], Any], parts: np.ndarray) -> Any:
    """The sum of `function` of each part."""
    if len(parts) == 1:
        return function(jnp.asarray(parts[0]))
    made = jax.eval_shape(function, jax.ShapeDtypeStruct(parts.shape[1:], parts.dtype))
    return lax.scan(
        lambda total, part: (jax.tree.map(jnp.add, total, function(part)), None),
        jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), made),
        jnp.asarray(parts),
    )[0]
