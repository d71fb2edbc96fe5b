"""The square root, of variances that may be zero."""

import jax
import jax.numpy as jnp
from jax import Array


@jax.custom_jvp
def safe_sqrt(x: Array) -> Array:
    """Square root whose derivative at zero is zero, not infinite."""
    return jnp.sqrt(x)


@safe_sqrt.defjvp
def _safe_sqrt_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    positive = x > 0
    slope = jnp.where(positive, 0.5 / safe_sqrt(jnp.where(positive, x, 1.0)), 0.0)
    return safe_sqrt(x), slope * dx
