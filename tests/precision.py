"""JAX with and without float64, within a test."""

import jax


def x64(enabled: bool):
    """Context in which `jax_enable_x64` is on or off."""
    # The older name is that of older versions of JAX.
    return (jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64)(enabled)
