"""Gradient flow of a linear model on the mean squared error, in the eigenbasis of its kernel.

Outputs f on the training points obey df/dt = -K (f - y), so after a scaled time s
f(s) = exp(-s K) f(0) + (1 - exp(-s K)) y (Lee et al. 2019, arXiv 1902.06720, section 2.2).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ntkjax._inference.dynamics import is_unseen


class Flow(NamedTuple):
    """Gradient flow, in scaled time s = learning_rate t / size: a `Dynamics` without numbers."""

    def decay(self, values: Array, time: Array) -> Array:
        """exp(-s value)."""
        # At infinite time a mode of eigenvalue zero still stands where it was.
        still = values == 0
        return jnp.where(still, 1.0, jnp.exp(-time * jnp.where(still, 1.0, values)))

    def learned(self, values: Array, time: Array) -> Array:
        """1 - exp(-s value)."""
        still = values == 0
        return jnp.where(still, 0.0, -jnp.expm1(-time * jnp.where(still, 1.0, values)))

    def response(self, values: Array, time: Array) -> Array:
        """(1 - exp(-s value)) / value."""
        still = values == 0
        safe = jnp.where(still, 1.0, values)
        made = jnp.where(still, time, -jnp.expm1(-time * safe) / safe)
        return jnp.where(is_unseen(values, time), 0.0, made)
