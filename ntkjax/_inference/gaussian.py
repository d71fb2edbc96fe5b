"""The answer of a prediction that has a covariance."""

from typing import NamedTuple

from jax import Array


class Gaussian(NamedTuple):
    """A Gaussian over the outputs of a network.

    Args:
      mean: expected outputs, laid out as the targets.
      covariance: covariance of the outputs, laid out as the kernel.

    Example:
      >>> import jax.numpy as jnp
      >>> Gaussian(jnp.zeros((4, 3)), jnp.eye(4)).covariance.shape
      (4, 4)
    """

    mean: Array
    covariance: Array
