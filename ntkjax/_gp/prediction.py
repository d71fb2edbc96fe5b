"""The answer of a process at single points."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class Prediction(NamedTuple):
    """What a process says of points: Gaussians, one by one.

    Args:
      mean: expected values, `(n,)` or `(n, n_outputs)`, as the targets.
      variance: their variances, of the same shape.

    Example:
      >>> import jax.numpy as jnp
      >>> Prediction(jnp.zeros(3), jnp.ones(3)).std.shape
      (3,)
    """

    mean: Array
    variance: Array

    @property
    def std(self) -> Array:
        """Standard deviations."""
        return jnp.sqrt(self.variance)
