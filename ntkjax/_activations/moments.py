"""The three expectations that an activation computes for a pair."""

from typing import NamedTuple

from jax import Array


class Moments(NamedTuple):
    """Expectations of a pair."""

    covariance: Array  # E f(u) f(v)
    distance: Array  # E (f(u) - f(v))^2
    slope: Array  # E f'(u) f'(v)
