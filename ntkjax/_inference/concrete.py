"""Whether arrays have values now, or are traced by a caller's transformation."""

from typing import Any

import jax
from jax.core import Tracer


def is_concrete(tree: Any) -> bool:
    """Whether all arrays of a pytree have values now, none being traced by jit, grad or vmap."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))
