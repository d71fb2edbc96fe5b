"""What comes of a pair: expectations, however they are computed."""

from typing import NamedTuple

from jax import Array


class Moments(NamedTuple):
    """Expectations of a pair."""

    covariance: Array  # E f(u) f(v)
    distance: Array  # E (f(u) - f(v))^2
    slope: Array  # E f'(u) f'(v)
