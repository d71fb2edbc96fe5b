"""Standardisation: inputs and targets of mean 0 and standard deviation 1, and the way back."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class Scaling(NamedTuple):
    """The mean and the standard deviation that are taken from and given back to an array."""

    mean: Array
    std: Array

    def scaled(self, array: Array) -> Array:
        """Without them."""
        return (array - _aligned(self.mean, array)) / _aligned(self.std, array)

    def spread(self, array: Array) -> Array:
        """Deviations of the scaled, as those of the original."""
        return array * _aligned(self.std, array)

    def back(self, array: Array) -> Array:
        """With them again."""
        return self.spread(array) + _aligned(self.mean, array)

    def variance(self, array: Array) -> Array:
        """Variances of the scaled, as those of the original."""
        return array * _aligned(self.std**2, array)


def _aligned(last: Array, array: Array) -> Array:
    """Numbers for the last axis of an array, with as many axes as it has."""
    return last.reshape((1,) * (array.ndim - 1) + last.shape)


def scaling_of(array: Array, is_wanted: bool) -> Scaling:
    """Of the last axis, over all others; nothing where it is not wanted.

    What is constant is centred and keeps its unit.
    """
    shape = array.shape[-1:]
    if not is_wanted:
        return Scaling(jnp.zeros(shape, array.dtype), jnp.ones(shape, array.dtype))
    axes = tuple(range(array.ndim - 1))
    std = jnp.std(array, axis=axes)
    mean = jnp.mean(array, axis=axes)
    rounding = 10 * jnp.finfo(array.dtype).eps * jnp.abs(mean)
    return Scaling(mean, jnp.where(std > rounding, std, 1))
