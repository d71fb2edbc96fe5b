"""`mask_constant`: the value of entries that are masked, in inputs of infinite and finite networks.

An entry is masked where it equals the constant, or where it is NaN if the constant is. Masked
entries count as zero.
"""

import numbers
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.arrays import default_float, describe


def checked_constant(function: str, value: Any) -> Any:
    """A real number, NaN and infinity among them, or a traced scalar; None for no masks."""
    is_number = isinstance(value, (numbers.Real, np.bool_)) or (
        hasattr(value, "dtype")
        and value.shape == ()
        and not jnp.issubdtype(value.dtype, np.complexfloating)
    )
    if value is not None and not is_number:
        raise TypeError(
            f"{function}: mask_constant={describe(value)}, expected a real number, the value of "
            "masked entries, such as 100.0 or nan; or None."
        )
    return value


def masked_entries(x: Any, mask_constant: Any) -> Array:
    """Where an array is masked, in its own precision."""
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, np.floating):
        x = x.astype(default_float())
    constant = jnp.asarray(mask_constant, x.dtype)
    return jnp.where(jnp.isnan(constant), jnp.isnan(x), x == constant)
