"""Changes of arguments that do not change, which a rule of derivatives need not multiply.

JAX marks them where a rule asks for that (`symbolic_zeros=True`).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero


def _marks_zero(leaf: Any) -> bool:
    return isinstance(leaf, SymbolicZero)


def is_zero(tangents: Any) -> bool:
    """Whether none of the arguments in a pytree changes."""
    return all(map(_marks_zero, jax.tree.leaves(tangents, is_leaf=_marks_zero)))


def instantiated(tangents: Any) -> Any:
    """The same changes, all as arrays."""

    def array(leaf: Any) -> Any:
        return jnp.zeros(leaf.shape, leaf.dtype) if _marks_zero(leaf) else leaf

    return jax.tree.map(array, tangents, is_leaf=_marks_zero)
