"""Masks in finite networks: `mask_constant` of `apply_fn`, and arrays that know what is masked.

Every layer of ours takes `mask_constant` and arrays with masks, zeroes what is masked, and gives on
where its outputs are masked:

    apply_fn(params, [[[1.0], [nan]]], mask_constant=nan)
        -> MaskedArray(masked_value=..., mask=[[[False], [True]]]).
"""

import dataclasses
import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.arrays import is_numbers, real_array
from ntkjax._kernel.mask_constant import checked_constant, masked_entries

#: From the mask of the input and its shape (or lists of both) to that of the output.
MaskFn = Callable[[Any, Any], Any]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MaskedArray:
    """An array of activations, some of which are masked.

    What `apply_fn` returns where `mask_constant` is given, and what it takes in place of arrays.

    Args:
      masked_value: the activations; what is masked has no meaning.
      mask: booleans of a shape that broadcasts to them, True where an entry is masked.

    Returns:
      A pytree of both.

    Raises:
      TypeError: a field is missing.

    Source: the name and the fields are those of neural-tangents 0.6.5.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> x = jnp.array([[1.0, 100.0]])
      >>> stax.Identity()[1]((), x, mask_constant=100.0).mask.tolist()
      [[False, True]]
    """

    masked_value: Any
    mask: Any


def unmask_fn(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function that returns arrays with masked entries zero, of one that returns `MaskedArray`.

    Such an `apply_fn` suits functions of arrays, such as empirical and Monte Carlo kernels.

    Args:
      fn: a function that returns arrays, `MaskedArray`, or a pytree of them.

    Returns:
      A function of the same arguments.

    Raises:
      TypeError: `fn` is no function.

    Source: the name is that of neural-tangents 0.6.5.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> x = jnp.array([[1.0, 100.0]])
      >>> stax.unmask_fn(stax.Identity()[1])((), x, mask_constant=100.0).tolist()
      [[1.0, 0.0]]
    """
    if not callable(fn):
        raise TypeError(f"unmask_fn: fn is {type(fn).__name__}, expected a function.")

    @functools.wraps(fn)
    def unmasked(*args: Any, **kwargs: Any) -> Any:
        out = fn(*args, **kwargs)
        return jax.tree.map(
            lambda leaf: _zeroed(leaf) if isinstance(leaf, MaskedArray) else leaf,
            out,
            is_leaf=lambda leaf: isinstance(leaf, MaskedArray),
        )

    return unmasked


def _zeroed(array: MaskedArray) -> Array:
    """The values, zero where masked."""
    value = jnp.asarray(array.masked_value)
    mask = jnp.broadcast_to(jnp.asarray(array.mask), value.shape)
    return jnp.where(mask, jnp.zeros((), value.dtype), value)


def with_masks(
    name: str, apply_fn: Callable[..., Any], mask_fn: MaskFn | None
) -> Callable[..., Any]:
    """The `apply_fn` of a layer, which takes arrays, as one that takes masks as well.

    It is handed the mask (or a list of them, of several inputs) as `mask`, beside inputs that are
    zero there. `mask_fn` says where outputs are masked: as it stands, where the input is, or all
    inputs are.
    """

    def masked_apply_fn(params: Any, inputs: Any, **kwargs: Any) -> Any:
        constant = checked_constant(name, kwargs.pop("mask_constant", None))
        found = jax.tree.leaves(inputs, is_leaf=_is_masked)
        if constant is None and not any(map(_is_masked, found)):
            return apply_fn(params, inputs, **kwargs)
        values, mask = _parts(inputs, constant)
        outputs = apply_fn(params, values, mask=mask, **kwargs)
        if isinstance(outputs, list):
            masks = mask if isinstance(mask, list) else [mask] * len(outputs)
            return [MaskedArray(*pair) for pair in zip(outputs, masks, strict=True)]
        shapes = [v.shape for v in values] if isinstance(values, list) else values.shape
        return MaskedArray(outputs, (mask_fn or _all_masked)(mask, shapes))

    return masked_apply_fn


def _is_masked(value: Any) -> bool:
    return isinstance(value, MaskedArray)


def _parts(inputs: Any, constant: Any) -> tuple[Any, Any]:
    """Values that are zero where masked, and masks that broadcast to them; of lists, lists."""
    if isinstance(inputs, (list, tuple)) and not is_numbers(inputs):
        pairs = [_parts(one, constant) for one in inputs]
        return [value for value, _ in pairs], [mask for _, mask in pairs]
    if isinstance(inputs, MaskedArray):
        return _zeroed(inputs), jnp.asarray(inputs.mask)
    value = jnp.asarray(real_array("the input", inputs))
    if constant is None:
        return value, jnp.zeros((1,) * value.ndim, bool)
    masked = MaskedArray(value, masked_entries(value, constant))
    return _zeroed(masked), masked.mask


def _all_masked(mask: Any, shape: Any) -> Any:
    """Where all inputs are masked."""
    return functools.reduce(operator.and_, mask) if isinstance(mask, list) else mask


def over_channels(channel_axis: int) -> MaskFn:
    """Where all channels are masked, of layers with weights on channels."""
    return lambda mask, shape: jnp.all(mask, channel_axis, keepdims=True)


def masked_mean(x: Array, mask: Array | None, axes: tuple[int, ...], *, keepdims: bool) -> Array:
    """The mean over what is not masked, of at least one entry."""
    if mask is None:
        return jnp.mean(x, axes, keepdims=keepdims)
    mask = jnp.broadcast_to(mask, x.shape)
    count = jnp.sum(~mask, axes, keepdims=keepdims)
    return jnp.sum(x, axes, keepdims=keepdims) / jnp.maximum(count, 1).astype(x.dtype)


def of_windows(axes: tuple[int, ...], windows: tuple[Any, ...]) -> MaskFn:
    """The mask in the middle of windows along some axes; as it was where no position goes."""

    def mask_fn(mask: Array, shape: tuple[int, ...]) -> Array:
        sizes = [shape[axis] for axis in axes]
        if all(w.size_out(n) == n for w, n in zip(windows, sizes, strict=True)):
            return mask
        for axis, window, size in zip(axes, windows, sizes, strict=True):
            middle = window.middle(size)
            inside = np.clip(middle, 0, size - 1)
            exists = np.expand_dims(
                inside == middle, [k for k in range(mask.ndim) if k != axis % mask.ndim]
            )
            full = jnp.broadcast_to(
                mask, [size if k == axis % mask.ndim else n for k, n in enumerate(mask.shape)]
            )
            mask = jnp.take(full, inside, axis=axis) & exists
        return mask

    return mask_fn
