"""Zeros to start a sum with, inside `jax.shard_map` as well.

There, the type of an array that differs between devices says over which axes of the mesh it does;
what a loop carries must be of that type from the start.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._jax_compat import varying_axes


def zeros_beside(shape: tuple[int, ...], dtype: Any, arrays: Any) -> Array:
    """Zeros that vary over all axes of a mesh over which some of `arrays` (a pytree) vary."""
    zeros = jnp.zeros(shape, dtype)
    for array in jax.tree.leaves(arrays):
        if varying_axes(array):
            # Zero whatever the entry is, but of its type.
            entry = array.reshape(-1)[0]
            zero = jnp.zeros((), dtype)
            zeros = zeros + jnp.where(entry == entry, zero, zero)
    return zeros
