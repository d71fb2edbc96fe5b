"""Where positions are masked, `[position per axis ..., image]`: how operations hand it on."""

import functools

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.signal import Signal


def all_masked(masks: tuple[Array, ...], signal: Signal) -> Array | None:
    """Where all inputs of an operation with an output of this signal are masked.

    Where the output has no positions, an image is masked if all of its positions are. None where
    the positions of the output are others than those of the inputs.
    """
    sizes = [mask.shape[:-1] for mask in masks]
    if len(set(sizes)) == 1 and sizes[0] == signal.sizes:
        return functools.reduce(jnp.logical_and, masks)
    if not signal.sizes:
        alone = [jnp.all(mask, tuple(range(mask.ndim - 1))) for mask in masks]
        return functools.reduce(jnp.logical_and, alone)
    return None
