"""Batches for a case, and what is in its results."""

from typing import Any

import jax
import numpy as np

from ntkjax import Kernel


def shapes_of(shape: Any, n: int) -> Any:
    """Shapes of batches, for one input or a list of them."""
    return [shapes_of(s, n) for s in shape] if isinstance(shape, list) else (n, *shape)


def batch(shape: Any, n: int, seed: int) -> Any:
    """Random inputs; not zero, and no two alike."""
    if isinstance(shape, list):
        return [batch(s, n, seed + 10 * i) for i, s in enumerate(shape)]
    return np.random.default_rng(seed).normal(size=(n, *shape)) + 0.1


def kernels_in(value: Any) -> list[Kernel]:
    """The kernels of all outputs."""
    return jax.tree.leaves(value, is_leaf=lambda k: isinstance(k, Kernel))


def corners(shape: Any, seed: int) -> tuple[Any, Any]:
    """Two batches of three with pairs that are special.

    Of seed 0: equal, opposite and zero points. Of seed 1: a point and its multiples, and points
    that are nearly equal, nearly opposite, or apart in scale.
    """
    if isinstance(shape, list):
        pairs = [corners(s, seed) for s in shape]
        return [one for one, _ in pairs], [two for _, two in pairs]
    rng = np.random.default_rng(seed)
    a, b, noise = rng.normal(size=(3, *shape))
    if seed == 0:
        return np.stack([a, b, 0 * a]), np.stack([a, -b, 0 * a])
    return np.stack([a, a, b]), np.stack([2 * a, a + 1e-6 * noise, 1e-6 * a - b])
