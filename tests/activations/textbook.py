"""Dual activations by their textbook formulas, which are right where all is smooth."""

from typing import NamedTuple

import jax.numpy as jnp


class Dual(NamedTuple):
    """E f(u) f(v) and E f'(u) f'(v), of two variances and a covariance."""

    covariance: jnp.ndarray
    slope: jnp.ndarray


def rectifier(a, b, v1, v2, k):
    """Cho & Saul 2009, eq. 6-8, for two slopes."""
    product = jnp.sqrt(v1 * v2)
    theta = jnp.arccos(k / product)
    gap = product * jnp.sin(theta) - theta * k
    mean_square, kink = (a**2 + b**2) / 2, (b - a) ** 2 / (2 * jnp.pi)
    return Dual(mean_square * k + kink * gap, mean_square - kink * theta)


def error_function(v1, v2, k):
    """Williams 1997, eq. 11."""
    size = (1 + 2 * v1) * (1 + 2 * v2)
    slope = 4 / jnp.pi / jnp.sqrt(size - 4 * k**2)
    return Dual(2 / jnp.pi * jnp.arcsin(2 * k / jnp.sqrt(size)), slope)


def gelu(v1, v2, k):
    """Tsuchida et al. 2021, arXiv 2002.08517."""
    size = (1 + v1) * (1 + v2)
    root = jnp.sqrt(size - k**2)
    gamma = jnp.arctan(k / root)
    even = k * gamma + (k**2 + v1 * v2 * root**2) / (size * root)
    turn = gamma + k / root * (1 / root**2 + 1 / (1 + v1) + 1 / (1 + v2))
    return Dual(k / 4 + even / (2 * jnp.pi), 0.25 + turn / (2 * jnp.pi))
