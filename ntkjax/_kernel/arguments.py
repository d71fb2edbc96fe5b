"""Inputs as floating-point arrays: the checks that they must pass."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer


def as_floats(name: str, x: object) -> Array:
    """An input as a floating-point array; raises where it is none."""
    if not hasattr(x, "dtype") or not hasattr(x, "shape"):
        x = np.asarray(x)
    dtype = np.dtype(x.dtype)  # type: ignore[attr-defined]
    if not (jnp.issubdtype(dtype, np.number) or dtype.kind == "b") or jnp.issubdtype(
        dtype, np.complexfloating
    ):
        raise TypeError(
            f"kernel_fn: {name} has dtype {dtype}, expected real numbers; convert it to floats "
            "first (complex inputs: stack real and imaginary parts as channels)."
        )
    if not jnp.issubdtype(dtype, np.floating):
        x = jnp.asarray(x, float)
    elif dtype.itemsize > 4 and jnp.zeros((), float).dtype != np.float64:
        warnings.warn(
            f"kernel_fn: {name} has dtype {dtype}, but JAX keeps float32; the kernel is computed "
            "in float32. Call jax.config.update('jax_enable_x64', True) for float64, or convert "
            f"{name} to float32 to silence this.",
            stacklevel=3,
        )
        x = jnp.asarray(x, jnp.float32)
    elif dtype.itemsize < 4:
        x = jnp.asarray(x, jnp.float32)
    x = jnp.asarray(x)
    if x.ndim < 2:
        raise ValueError(
            f"kernel_fn: {name} has shape {x.shape}, expected at least a batch and a channel axis; "
            f"a single example x is {name}=x[None, :]."
        )
    if 0 in x.shape:
        raise ValueError(
            f"kernel_fn: {name} has shape {x.shape}, which is empty; expected at least one example "
            "with at least one position and channel."
        )
    if not isinstance(x, Tracer) and not _is_finite(x):
        raise ValueError(
            f"kernel_fn: {name} holds NaN or infinite values, for which no kernel is defined; drop "
            "or fill these entries first."
        )
    return x


def _is_finite(x: Array) -> bool:
    """Whether there is neither NaN nor infinity; also within a program of the caller's."""
    with jax.ensure_compile_time_eval():
        return bool(jnp.all(jnp.isfinite(x)))
