"""Arrays that the caller has put on several devices, where a program takes those of one alone."""

from typing import Any

import jax
from jax import Array

from ntkjax._jax_compat import is_concrete


def on_one_device(first: Any, *others: Any) -> tuple[Any, ...]:
    """Trees of arrays, on the first one's device where the caller has put them on several.

    Where the first tree is on no device of the caller's choice, it is that of the next one. An
    array that lies in parts on several devices joins the others on the first of these.
    """
    trees = (first, *others)
    placed = [
        leaf
        for leaf in jax.tree.leaves(trees)
        if isinstance(leaf, Array) and is_concrete(leaf) and leaf.committed
    ]
    if len({frozenset(leaf.devices()) for leaf in placed}) < 2:
        return trees
    home = min(placed[0].devices(), key=lambda device: device.id)

    def moved(leaf: Any) -> Any:
        is_array = isinstance(leaf, Array) and is_concrete(leaf)
        return jax.device_put(leaf, home) if is_array else leaf

    return tuple(jax.tree.map(moved, tree) for tree in trees)
