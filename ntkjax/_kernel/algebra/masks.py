"""Where positions are masked, `[position per axis ..., image]`: how operations hand it on."""

import functools

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.errors import LayerError
from ntkjax._kernel.algebra.signal import Signal


def all_masked(masks: tuple[Array, ...], signal: Signal) -> Array:
    """Where all inputs of an operation with an output of this signal are masked.

    Where the output has no positions, an image is masked if all of its positions are.
    """
    mask = functools.reduce(jnp.logical_and, masks)
    if mask.shape[:-1] == signal.sizes:
        return mask
    if not signal.sizes:
        return jnp.all(mask, tuple(range(mask.ndim - 1)))
    raise LayerError(
        f"which of its {signal.sizes} positions are masked, of {mask.shape[:-1]} before, is not "
        "known; mask inputs of networks without this layer."
    )
