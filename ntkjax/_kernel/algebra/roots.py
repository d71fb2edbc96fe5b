r"""Square roots, reciprocals and positive parts of what may be zero, with finite derivatives.

Derivatives that are infinite at zero count as zero there. So do those that are too large for the
dtype to be multiplied by others of their size, since infinity times zero is not a number: the
derivative of 1 / x and the second one of the root x where x^4 is below the smallest normal number
(x < 3e-10 in float32). The first derivative of the root is right down to zero.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax


@jax.custom_jvp
def safe_reciprocal(x: Array) -> Array:
    """1 / x for x >= 0; zero at zero, as is its derivative there and near it."""
    positive = x > 0
    return jnp.where(positive, 1 / jnp.where(positive, x, 1.0), 0.0)


@safe_reciprocal.defjvp
def _safe_reciprocal_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    inverse = safe_reciprocal(x)
    # The bound is compared with the inverse, whose derivative is at hand.
    kept = jnp.where(inverse > jnp.finfo(x.dtype).tiny ** -0.25, 0.0, inverse)
    return inverse, -jnp.square(kept) * dx


@jax.custom_jvp
def safe_sqrt(x: Array) -> Array:
    """Square root of x >= 0, whose derivative at zero is zero."""
    return jnp.sqrt(x)


@safe_sqrt.defjvp
def _safe_sqrt_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    root = safe_sqrt(x)
    return root, 0.5 * safe_reciprocal(root) * dx


def clipped(x: Array, most: Array | float) -> Array:
    """X between 0 and a bound; derivatives on the bounds, and where x is negative, are those of x.

    `jnp.clip` halves them on the bounds. Distances of equal points are on one, and the first
    derivatives are zero there, but the second ones are not.
    """
    return jnp.where(x > most, most, positive_part(x))


def positive_part(x: Array) -> Array:
    """x, or zero where a rounding error made it negative; derivatives are those of x throughout."""
    return jnp.where(x < 0, x - lax.stop_gradient(x), x)
