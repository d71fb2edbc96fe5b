"""`vmap_axes`: along which axes of inputs, outputs and keywords examples are stacked.

Of inputs {"left": (5, 3), "right": (4, 5)}, the axes {"left": 0, "right": 1} say that there are
five examples. An axis by itself is that of every array below it, and None says that examples share
it.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ntkjax._kernel.arrays import describe

_MEND = "pass vmap_axes=0 where inputs and outputs are stacked along their first axis"


@dataclasses.dataclass(frozen=True)
class ExampleAxes:
    """The axes of inputs, of outputs and of keywords, trees that may end before theirs do."""

    inputs: Any
    outputs: Any
    keywords: Mapping[str, Any]


def example_axes(vmap_axes: Any) -> ExampleAxes | None:
    """What `vmap_axes` says: None, axes for inputs and outputs alike, or a triple."""
    if vmap_axes is None:
        return None
    axes = ExampleAxes(vmap_axes, vmap_axes, {})
    if isinstance(vmap_axes, tuple) and len(vmap_axes) == 3:
        axes = ExampleAxes(vmap_axes[0], vmap_axes[1], {} if vmap_axes[2] is None else vmap_axes[2])
    trees = axes.inputs, axes.outputs, axes.keywords
    leaves = jax.tree.leaves(trees, is_leaf=lambda a: a is None)
    known = all(a is None or _is_axis(a) for a in leaves)
    if not known or not (isinstance(axes.keywords, Mapping) or _is_axis(axes.keywords)):
        raise ValueError(_refusal(vmap_axes))
    return axes


def with_keywords(axes: ExampleAxes, keywords: Mapping[str, Any]) -> ExampleAxes:
    """The axes with one for each keyword that they name; one axis is that of all keywords."""
    if not isinstance(axes.keywords, Mapping):
        return dataclasses.replace(axes, keywords=dict.fromkeys(keywords, axes.keywords))
    for name in axes.keywords:
        if name not in keywords:
            raise ValueError(
                f"vmap_axes names the keyword {name!r}, but the call has the keywords"
                f" {sorted(keywords)}: pass {name}=... or leave it out of vmap_axes"
            )
    return axes


def axes_of_leaves(axes: ExampleAxes, batch: Any) -> list[int | None]:
    """The axis of each array of `(batch.x, mapped keywords)`; raises where they do not fit."""
    along: list[int | None] = []
    lengths: dict[str, int] = {}
    for name, tree, at in [
        ("x", batch.x, axes.inputs),
        *(
            (f"the keyword {n!r}", batch.keywords[n], axes.keywords[n])
            for n in sorted(axes.keywords)
        ),
    ]:
        for leaf, axis in zip(jax.tree.leaves(tree), spread(name, at, tree), strict=True):
            if axis is None:
                along.append(None)
                continue
            shape = np.shape(leaf)
            if not -len(shape) <= axis < len(shape):
                raise ValueError(
                    f"vmap_axes names axis {axis} of {name}, which has an array of shape {shape}:"
                    " pass the axis along which its examples are stacked, or None"
                )
            along.append(axis % len(shape))
            lengths[f"{name} of shape {shape}"] = shape[axis]
    if not lengths:
        raise ValueError(
            f"vmap_axes={(axes.inputs, axes.outputs, dict(axes.keywords))} names no axis of the"
            " inputs or keywords: pass vmap_axes=None for a network that takes its batch as a whole"
        )
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{n} along an axis of {name}" for name, n in lengths.items())
        raise ValueError(
            f"vmap_axes must name axes of one length, the number of examples, got {found}: pass the"
            " axes along which examples are stacked, and None for what they share"
        )
    return along


def spread(name: str, axes: Any, tree: Any) -> list[int | None]:
    """An axis, or None, for each leaf of a tree."""
    found: list[int | None] = []

    def one(axis: int | None, part: Any) -> None:
        found.extend([axis] * len(jax.tree.leaves(part)))

    try:
        jax.tree.map(one, axes, tree, is_leaf=lambda a: a is None)
    except (ValueError, TypeError, KeyError):
        raise ValueError(
            f"{_refusal(axes)}; the axes of {name} must be an axis or a tree like it, which is"
            f" {jax.tree.structure(tree)}"
        ) from None
    return found


def _is_axis(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _refusal(value: Any) -> str:
    return (
        "vmap_axes must be None, an axis, or a triple (axes of x, axes of f(x), dict of axes of"
        f" keywords), got {describe(value)}: {_MEND}"
    )
