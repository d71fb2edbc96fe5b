"""Means over the channels of inputs: any number of them, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax._kernel.operations.distances import mean_over_channels, squared_distance


@pytest.mark.parametrize("channels", [1, 3, 15, 16, 17, 32, 100])
def test_mean_over_channels(channels):
    """Whole groups of channels, groups and a rest, a rest alone."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(channels, 4, 1)), rng.normal(size=(channels, 1, 5))

    def distances(a, b):
        return mean_over_channels(squared_distance, a, b)

    exact = np.mean((a - b) ** 2, 0)
    np.testing.assert_allclose(jax.jit(distances)(a, b), exact, rtol=1e-14)
    single = jax.jit(distances)(jnp.float32(a), jnp.float32(b))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, exact, rtol=1e-6)
    gradient = jax.jit(jax.grad(lambda a: jnp.sum(jnp.sin(distances(a, b)))))(a)
    wanted = np.sum(2 * (a - b) / channels * np.cos(exact), 2, keepdims=True)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-12, atol=1e-14)
