"""What is refused of the inputs and the parameters of a finite network.

What a network makes of its inputs is its own affair: they may be any pytree, with keys, indices and
objects among its leaves. But of floats that are not finite no kernel is, and it would come out as
NaN without a word of which input it stems from. So they are refused here, where they have values.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._jax_compat import is_concrete
from ntkjax._kernel.arrays import check_all_finite, describe, is_numbers, native, real_array
from ntkjax._kernel.mask_constant import checked_constant, masked_entries


def checked_inputs(name: str, x: Any, mask_constant: Any = None) -> Any:
    """Inputs of a network as `checked_arrays`; nested lists of numbers are one array."""
    is_one = isinstance(x, list) and is_numbers(x)
    return checked_arrays(name, real_array(name, x) if is_one else x, mask_constant)


def checked_arrays(name: str, tree: Any, mask_constant: Any = None) -> Any:
    """A tree with its arrays in the byte order that JAX takes; raises where they are no numbers.

    Entries that equal `mask_constant`, and those that an array with a mask hides, may be NaN.
    """
    constant = checked_constant(f"the network on {name}", mask_constant)
    floats: list[tuple[str, Any]] = []

    def checked(path: Any, leaf: Any) -> Any:
        here = f"{name}{jax.tree_util.keystr(path)}"
        if _has_mask(leaf):
            floats.extend(_unmasked(here, leaf.masked_value, jnp.asarray(leaf.mask)))
            return jax.tree.map(native, leaf)
        if isinstance(leaf, float):
            floats.append((here, np.asarray(leaf)))
        if not (_is_array(leaf) or _is_foreign(leaf)):
            return leaf
        array: Any = leaf if _is_array(leaf) else real_array(here, leaf)
        is_masked = constant is not None and jnp.issubdtype(array.dtype, np.floating)
        floats.extend(
            _unmasked(here, array, masked_entries(array, constant) if is_masked else None)
        )
        return native(array)

    made = jax.tree_util.tree_map_with_path(checked, tree, is_leaf=_has_mask)
    check_all_finite(floats)
    return made


def check_key(function: str, key: Any) -> None:
    """Raises where it is no single random key, new or old style."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    is_new = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ()
    if not is_new and not (dtype == np.uint32 and len(shape or ()) == 1):
        raise TypeError(
            f"{function}: key is {describe(key)}, expected one random key of JAX; pass "
            "jax.random.key(0), say."
        )


def _unmasked(name: str, array: Any, mask: Any) -> list[tuple[str, Any]]:
    """An array of floats by name, zero where a mask hides it; none where there are no floats."""
    if not is_concrete((array, mask)) or not jnp.issubdtype(array.dtype, np.inexact):
        return []
    return [(name, array if mask is None else jnp.where(mask, jnp.zeros((), array.dtype), array))]


def _has_mask(leaf: Any) -> bool:
    """Whether it is an array of activations with a mask, as `stax.MaskedArray` is."""
    return hasattr(leaf, "masked_value") and hasattr(leaf, "mask")


def _is_array(leaf: Any) -> bool:
    """Whether it is an array of numbers or of random keys, as JAX takes it."""
    if isinstance(leaf, np.ndarray):
        return not isinstance(leaf, np.ma.MaskedArray) and _is_of_numbers(leaf.dtype)
    return isinstance(leaf, Array)


def _is_of_numbers(dtype: Any) -> bool:
    return bool(jnp.issubdtype(dtype, np.number) or jnp.issubdtype(dtype, np.bool_))


def _is_foreign(leaf: Any) -> bool:
    """Whether it holds numbers in a form that JAX does not take, or would take without its mask."""
    return isinstance(leaf, np.ndarray) or hasattr(leaf, "todense")
