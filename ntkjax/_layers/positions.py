"""Covariances of positional embeddings, and embeddings of finite networks that have them.

Two positions p and q have the covariance R[p, q] = r(sum over axes of |p_i - q_i|^norm), with a
function r that the user gives; without one, R[p, q] = [p = q]. Such R depends on the distances
along the axes alone, so a table of them is all that is stored.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._jax_compat import is_concrete
from ntkjax._kernel.arrays import default_float, describe
from ntkjax._layers.checks import Shape, check_number

Decay = Callable[[Any], Any]


def check_decay(layer: str, argument: str, value: Any) -> Decay | None:
    """A function of distances, or None."""
    if value is None or callable(value):
        return value
    raise TypeError(
        f"{layer}: {argument}={describe(value)}, expected a function of an array of distances, "
        "such as lambda d: jnp.exp(-d), or None for embeddings that are independent."
    )


def check_norm(layer: str, argument: str, value: Any) -> float:
    """A positive number that is known."""
    number = check_number(layer, argument, value)
    if isinstance(number, float) and number > 0:
        return number
    raise ValueError(f"{layer}: {argument}={describe(value)}, expected a positive number.")


def covariances(layer: str, sizes: Shape, norm: float, decay: Decay | None) -> Array:
    """R by the distance along each axis, `[distance per axis ...]`."""
    dtype = default_float()
    if decay is None:
        table = np.zeros(sizes, dtype)
        table[(0,) * len(sizes)] = 1
        return jnp.asarray(table)

    def made_of() -> tuple[Array, Any]:
        apart = jnp.zeros(sizes, dtype)
        for axis, size in enumerate(sizes):
            along = jnp.arange(size, dtype=dtype) ** jnp.asarray(norm, dtype)
            apart = apart + along.reshape([-1 if k == axis else 1 for k in range(len(sizes))])
        return apart, decay(apart)

    try:
        # Numbers even within a program, so that they can be checked.
        with jax.ensure_compile_time_eval():
            apart, made = made_of()
    except jax.errors.UnexpectedTracerError:  # the function is made of traced numbers
        apart, made = made_of()
    if jnp.shape(made) != apart.shape:
        raise ValueError(
            f"{layer}: its decay function made {describe(made)} of an array of distances of shape "
            f"{apart.shape}, expected an array of that shape; use functions of jax.numpy, which "
            "act on each number."
        )
    if is_concrete((made, apart)) and not np.all(np.isfinite(np.asarray(made))):
        raise ValueError(
            f"{layer}: its decay function is not finite for some distances from 0 to "
            f"{np.max(np.asarray(apart)):g}; use a function that is, such as lambda d: jnp.exp(-d)."
        )
    return jnp.asarray(made, dtype)


def correlated(layer: str, noise: Array, sizes: Shape, norm: float, decay: Decay | None) -> Array:
    """Independent embeddings `[position, channel]`, made to have the covariance R.

    By the root of R, which has one where r is a covariance.
    """
    if decay is None:
        return noise
    table = covariances(layer, sizes, norm, decay)
    grid = np.indices(sizes).reshape(len(sizes), -1)
    matrix = table[tuple(np.abs(grid[:, :, None] - grid[:, None, :]))]
    values, vectors = jnp.linalg.eigh(matrix)
    if is_concrete(values):
        least, largest = float(values[0]), float(values[-1])
        if least < -1e-4 * max(largest, -least):
            raise ValueError(
                f"{layer}: its decay function gives no covariance of positions: its matrix has the "
                f"eigenvalue {least:.3g}; use a positive definite function, such as "
                "lambda d: jnp.exp(-d)."
            )
    root = vectors * jnp.sqrt(jnp.maximum(values, 0.0))[None]
    return jnp.asarray(root, noise.dtype) @ noise
