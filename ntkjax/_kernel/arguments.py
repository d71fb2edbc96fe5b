"""Inputs of a kernel function: arrays or kernels, one or a nested list, each side by side."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._jax_compat import is_concrete
from ntkjax._kernel.algebra.batch import Batch, KernelWithData
from ntkjax._kernel.algebra.graph import Value
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.arrays import as_floats, check_finite, describe, is_numbers, real_array
from ntkjax._kernel.devices import on_one_device
from ntkjax._kernel.keywords import data_of_keywords, shapes_of_keywords
from ntkjax._kernel.mask_constant import checked_constant, masked_entries
from ntkjax._kernel.plan.network import is_symmetric

#: Fields of a kernel that hold numbers of its dtype.
_NUMBERS = ("nngp", "ntk", "cov1", "cov2", "distance")

#: One input, of what was passed for x1 and x2 and the index that the message puts behind these.
OneInput = Callable[[Any, Any, str], Any]


def inputs_of_call(
    x1: Any,
    x2: Any,
    keeps_dtype: bool,
    keywords: dict[str, Any] | None = None,
    mask_constant: Any = None,
) -> tuple[list[Any], Value]:
    """The inputs of a call as a flat list, and the structure they had.

    An input is a pair of batches, the second None for the first again, or a kernel. All have one
    dtype, and are on the same devices. `keywords` bring arrays that belong to the images, and
    entries that equal `mask_constant` are masked.
    """
    mask_constant = checked_constant("kernel_fn", mask_constant)
    data1, data2, differ = data_of_keywords(keywords or {})

    def one_input(a: Any, b: Any, index: str) -> Any:
        # A batch with other data is another batch.
        b = a if differ and b is None and not isinstance(a, Kernel) else b
        item = _one_input(a, b, index, keeps_dtype, mask_constant)
        if isinstance(item, Kernel):
            if mask_constant is not None:
                _check_masks(f"kernel_fn: x1{index}", item)
            if differ:
                item = _with_other_images(item)
            return KernelWithData.of(item, data1, data2) if data1 else item
        if not data1:
            return item
        first, second = item
        with_data = dataclasses.replace(first, data=data1)
        return with_data, None if second is None else dataclasses.replace(second, data=data2)

    flat, structure = flattened("kernel_fn", "x", x1, x2, one_input)
    return list(on_one_device(*_in_one_dtype(flat))), structure


def _with_other_images(kernel: Kernel) -> Kernel:
    """The same kernel, of two batches which differ in what the call brings for their images."""
    own = kernel.cov1, kernel.mask1
    cov2, mask2 = own if kernel.cov2 is None else (kernel.cov2, kernel.mask2)
    differ = jnp.asarray(False)
    return kernel.replace(cov2=cov2, mask2=mask2, distance=kernel.distance, x1_is_x2=differ)


def _check_masks(name: str, kernel: Kernel) -> None:
    """A kernel holds no entries of inputs that might equal a constant: it has masks or not."""
    if kernel.mask1 is None:
        raise ValueError(
            f"{name} is a Kernel without masks, and of which inputs mask_constant masks entries is "
            "no longer known; give mask_constant to the call that makes the kernel (which then "
            "has masks that this call follows), or set its mask1 and mask2."
        )


def shapes_of_plan(
    shape1: Any,
    shape2: Any,
    dtype: Any,
    keywords: dict[str, Any] | None = None,
    mask_constant: Any = None,
) -> tuple[list[Any], Value]:
    """The same of the shapes of inputs and of keywords, each in place of its array."""
    data1, data2, differ = shapes_of_keywords(keywords or {}, dtype)
    shape2 = shape1 if differ and shape2 is None else shape2

    def batch(name: str, shape: Any, data: dict[str, Any]) -> Batch:
        array = _struct(f"plan: {name}", shape, dtype)
        is_masked = mask_constant is not None
        return Batch(array, data, jax.ShapeDtypeStruct(array.shape, bool) if is_masked else None)

    def one_input(a: Any, b: Any, index: str) -> Any:
        first = batch(f"shape1{index}", a, data1)
        return first, None if b is None else batch(f"shape2{index}", b, data2)

    return flattened("plan", "shape", shape1, shape2, one_input)


def flattened(
    function: str, argument: str, first: Any, second: Any, one_input: OneInput
) -> tuple[list[Any], Value]:
    """Nested lists of inputs as a flat list of what `one_input` makes, and their structure."""
    flat: list[Any] = []
    is_list = is_list_of_shapes if argument == "shape" else is_list_of_inputs

    def walk(a: Any, b: Any, index: str) -> Value:
        name1, name2 = f"{argument}1{index}", f"{argument}2{index}"
        if is_list(a):
            if b is not None and (not is_list(b) or len(b) != len(a)):
                raise ValueError(
                    f"{function}: {name1} is a list of {len(a)} inputs, but {name2} is "
                    f"{_came(b)}; pass a list of {len(a)} inputs or None."
                )
            parts = [None] * len(a) if b is None else b
            return tuple(
                walk(u, v, f"{index}[{i}]") for i, (u, v) in enumerate(zip(a, parts, strict=True))
            )
        if is_list(b):
            raise ValueError(
                f"{function}: {name2} is a list of {len(b)} inputs, but {name1} is {_came(a)}; "
                "pass both as lists or both as arrays."
            )
        flat.append(one_input(a, b, index))
        return len(flat) - 1

    structure = walk(first, second, "")
    if not flat:
        raise ValueError(f"{function}: {argument}1 is an empty list; pass one for each input.")
    if len({is_symmetric(item) for item in flat}) > 1:
        raise ValueError(
            f"{function}: some inputs come with {argument}2 and some without; give {argument}2 for "
            "all, or for none."
        )
    return flat, structure


def is_list_of_inputs(value: Any) -> bool:
    """Whether it is a list of inputs; nested lists of numbers are one array."""
    return isinstance(value, (list, tuple)) and not is_numbers(value)


def is_list_of_shapes(value: Any) -> bool:
    """Whether it is a list of shapes; a sequence with a number in it is one shape."""
    is_list = isinstance(value, (list, tuple))
    return is_list and all(v is None or isinstance(v, (list, tuple)) for v in value)


def _struct(name: str, shape: Any, dtype: Any) -> jax.ShapeDtypeStruct:
    """Inputs of which only the shape is known."""
    sizes = shape if isinstance(shape, (tuple, list)) else (shape,)
    if not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in sizes):
        raise ValueError(
            f"{name} is {describe(shape)}, expected a tuple of integers, such as (64, 32, 32, 3)."
        )
    check_batch_shape(name, tuple(map(int, sizes)))
    return jax.ShapeDtypeStruct(tuple(map(int, sizes)), dtype)


def _came(value: Any) -> str:
    if is_list_of_inputs(value):
        return f"a list of {len(value)}"
    shape = getattr(value, "shape", None)
    return describe(value) if shape is None else f"an array of shape {shape}"


def _one_input(a: Any, b: Any, index: str, keeps_dtype: bool, mask_constant: Any) -> Any:
    """One input: a kernel, or a pair of batches."""
    name1, name2 = f"kernel_fn: x1{index}", f"kernel_fn: x2{index}"
    if isinstance(b, Kernel):
        raise ValueError(f"{name2} is a Kernel; pass it as x1, and leave x2 out.")
    if isinstance(a, Kernel):
        if b is not None:
            raise ValueError(
                f"{name1} is a Kernel, which holds both batches already; leave x2 out."
            )
        return as_kernel(name1, a, keeps_dtype)
    first = _batch(name1, a, keeps_dtype, mask_constant)
    if b is None:
        return first, None
    second = _batch(name2, b, keeps_dtype, mask_constant)
    if first.ndim != second.ndim:
        raise ValueError(
            f"{name1} has shape {first.shape} but x2{index} has shape {second.shape}; both need "
            "the same axes."
        )
    return first, second


def _batch(name: str, x: Any, keeps_dtype: bool, mask_constant: Any) -> Batch:
    """A batch of examples; masked entries are zero."""
    mask = None
    if mask_constant is not None:
        x = real_array(name, x)
        mask = masked_entries(x, mask_constant)
    array = as_floats(name, x, keeps_dtype)
    if mask is not None:
        array = jnp.where(mask, 0.0, array)
    check_batch_shape(name, array.shape)
    check_finite(name, array)
    return Batch(array, mask=mask)


def check_batch_shape(name: str, shape: tuple[int, ...]) -> None:
    """A batch must have examples, and each at least one number."""
    if len(shape) < 2:
        raise ValueError(
            f"{name} has shape {shape}, expected at least a batch and a channel axis, such as "
            "(64, 32, 32, 3); a single example x is x[None, :]."
        )
    if min(shape) < 1:
        what = "is empty" if min(shape) == 0 else "has a negative size"
        raise ValueError(
            f"{name} has shape {shape}, which {what}; expected at least one example with at least "
            "one position and channel."
        )


def as_kernel(name: str, kernel: Kernel, keeps_dtype: bool) -> Kernel:
    """A kernel as an input: its numbers as arrays of floats; raises where they are none."""
    kernel = _in_usual_layout(kernel)
    arrays = {}
    for field in _NUMBERS:
        value = getattr(kernel, field)
        if value is not None:
            arrays[field] = as_floats(f"{name}.{field}", value, keeps_dtype)
            check_finite(f"{name}.{field}", arrays[field])
    if "nngp" not in arrays:
        raise ValueError(
            f"{name}.nngp is None, expected an array; compute the kernel with get=None."
        )
    n1, n2 = (shape[kernel.batch_axis] for shape in (kernel.shape1, kernel.shape2))
    is_same = not is_concrete(kernel.x1_is_x2) or bool(np.asarray(kernel.x1_is_x2).all())
    if "cov2" not in arrays and not (n1 == n2 and is_same):
        raise ValueError(
            f"{name}.cov2 is None, which stands for a batch with itself, but its nngp pairs two "
            f"different batches, of {n1} and {n2}; keep the cov2 that kernel_fn returned."
        )
    for field, shape in (("mask1", kernel.shape1), ("mask2", kernel.shape2)):
        mask = getattr(kernel, field)
        if mask is not None:
            arrays[field] = _mask_of_kernel(f"{name}.{field}", mask, shape, kernel.channel_axis)
    arrays["x1_is_x2"] = jnp.asarray(kernel.x1_is_x2, bool)
    return kernel.replace(**{"distance": None, **arrays})


def _in_usual_layout(kernel: Kernel) -> Kernel:
    """A kernel with positions in order, `cov1` of single examples, and a tangent for each pair."""
    if kernel.is_reversed:
        kernel = kernel.reverse()
    if not kernel.diagonal_batch:
        alone = [None if c is None else jnp.moveaxis(jnp.diagonal(c), -1, 0)
                 for c in (kernel.cov1, kernel.cov2)]  # fmt: skip
        kernel = kernel.replace(cov1=alone[0], cov2=alone[1], diagonal_batch=True)
    if kernel.ntk is not None and np.ndim(kernel.ntk) == 0:
        kernel = kernel.replace(ntk=jnp.broadcast_to(kernel.ntk, np.shape(kernel.nngp)))
    return kernel


def _mask_of_kernel(name: str, mask: Any, shape: tuple[int, ...], channel_axis: int) -> Array:
    """A mask of activations of a shape, which it may broadcast to; as that shape with one channel.

    A position is masked where all of its channels are.
    """
    mask = jnp.asarray(mask, bool)
    channels = channel_axis % len(shape)
    wanted = tuple(1 if axis == channels else size for axis, size in enumerate(shape))
    if mask.ndim != len(shape) or any(
        n not in (1, size) for n, size in zip(mask.shape, shape, strict=True)
    ):
        raise ValueError(
            f"{name} has shape {mask.shape}, expected one that broadcasts to the activations, of "
            f"shape {shape}; keep the mask that kernel_fn returned."
        )
    return jnp.broadcast_to(jnp.all(mask, channels, keepdims=True), wanted)


def _in_one_dtype(flat: list[Any]) -> list[Any]:
    """The same inputs, and their data, in the widest dtype of the inputs."""
    dtype = dtype_of(flat)
    if all(a.dtype == dtype for a in jax.tree.leaves(flat)):
        return flat

    def converted(a: Any) -> Any:
        return a.astype(dtype) if jnp.issubdtype(a.dtype, np.floating) else a

    return jax.tree.map(converted, flat)


def dtype_of(flat: list[Any]) -> Any:
    """The widest dtype of the inputs."""
    numbers = [
        [getattr(item, name) for name in _NUMBERS]
        if isinstance(item, Kernel)
        else [None if b is None else b.array for b in item]
        for item in flat
    ]
    dtypes = {np.dtype(a.dtype) for a in jax.tree.leaves(numbers)}
    return max((d for d in dtypes if d.kind == "f"), key=lambda d: d.itemsize)
