"""What a finite network is handed: one shape or array for each layer, with the axes that it names.

The infinite network is checked while its signals propagate; these checks say the same of `init_fn`
and `apply_fn`, where JAX would complain in its own terms or broadcast in silence.

Finite networks take whatever `kernel_fn` takes. Integers and booleans become JAX's own
floating-point type; where inputs and parameters (or several branches) differ in dtype, a layer
computes in the widest of them.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.algebra.window import Window
from ntkjax._kernel.arrays import default_float, describe, is_numbers, real_array
from ntkjax._layers.checks import Shape

#: The size of an axis in the `input_shape` of `init_fn` that is not known there. Batches always may
#: be of any size, and images where nothing that is drawn depends on it.
UNKNOWN = -1

_MEND = "use parallel to give each branch its own layers, or FanInSum to join them"


def one_shape(layer: str, shape: Any) -> Shape:
    """The shape of one input; refuses the shapes of several branches."""
    if isinstance(shape, (tuple, list)) and all(isinstance(n, (int, np.integer)) for n in shape):
        return tuple(map(int, shape))
    raise ValueError(
        f"{layer}: input_shape={describe(shape)}, expected the shape of one input, a "
        f"tuple of integers; if it is a list of branches, {_MEND}."
    )


def one_array(layer: str, inputs: Any) -> Array:
    """One array of inputs, of floats; refuses a list of branches."""
    if isinstance(inputs, (tuple, list)) and not is_numbers(inputs):
        raise ValueError(
            f"{layer}: takes one array, but a list of {len(inputs)} inputs came; {_MEND}."
        )
    return _floats(f"{layer}: its input", inputs)


def with_weights(layer: str, inputs: Any, params: Sequence[Any]) -> list[Any]:
    """One array of inputs and the parameters (None stays None), all in one dtype."""
    arrays = [None if p is None else _floats(f"{layer}: a parameter", p) for p in params]
    return in_one_dtype([one_array(layer, inputs), *arrays])


def in_one_dtype(arrays: Sequence[Array | None]) -> list[Any]:
    """Arrays of floats, in the widest of their dtypes; None stays None."""
    dtype = functools.reduce(_wider, (a.dtype for a in arrays if a is not None))
    return [None if a is None else a.astype(dtype) for a in arrays]


def _wider(a: Any, b: Any) -> Any:
    """The wider of two floating-point types; float32 for the two kinds of half precision."""
    if a == b:
        return a
    return np.promote_types(a, b) if a.itemsize != b.itemsize else np.dtype(np.float32)


def _floats(name: str, value: Any) -> Array:
    """An array of floats, in its own precision."""
    array = real_array(name, value)
    if not jnp.issubdtype(array.dtype, np.floating):
        return jnp.asarray(array, default_float())
    if array.dtype.itemsize > default_float().itemsize:
        array = array.astype(default_float())
    return jnp.asarray(array)


def branch_shapes(layer: str, shapes: Any) -> list[Shape]:
    """The shapes of all branches."""
    return [one_shape(layer, shape) for shape in _branches(layer, "input_shape", shapes)]


def branch_arrays(layer: str, inputs: Any) -> list[Array]:
    """The arrays of all branches, in the widest of their dtypes."""
    return in_one_dtype([one_array(layer, x) for x in _branches(layer, "inputs", inputs)])


def _branches(layer: str, argument: str, value: Any) -> list[Any]:
    """A list with an entry for each branch: a bare array would be taken apart along its batch."""
    if isinstance(value, (list, tuple)) and value and not isinstance(value[0], int):
        return list(value)
    came = (
        f"an array of shape {getattr(value, 'shape', None)}"
        if hasattr(value, "shape")
        else describe(value)
    )
    raise ValueError(
        f"{layer}: {argument} is {came}, expected a list with an entry for each branch; put "
        "FanOut and parallel before it."
    )


def axis_of(layer: str, argument: str, axis: int, shape: Shape) -> int:
    """An axis as a number that is not negative."""
    if -len(shape) <= axis < len(shape):
        return axis % len(shape)
    raise ValueError(
        f"{layer}: {argument}={axis} is no axis of its input of shape {shape}, which has "
        f"{len(shape)}; give the input a batch axis, its spatial axes and channels."
    )


def check_channels(layer: str, channels: int, expected: int, shape: Shape) -> None:
    """Inputs must have the channels that the weights were drawn for."""
    if channels != expected:
        raise ValueError(
            f"{layer}: its input of shape {shape} has {channels} channels, but its weights were "
            f"drawn for {expected}; call init_fn with the shape of these inputs."
        )


def sizes_after(windows: Sequence[Window], sizes: Shape) -> Shape:
    """The positions that windows leave along each axis; of an axis of unknown size, as many."""
    return tuple(
        UNKNOWN if size == UNKNOWN else window.size_out(size)
        for window, size in zip(windows, sizes, strict=True)
    )


def known_shape(layer: str, shape: Shape) -> Shape:
    """The shape of parameters; raises where it depends on an axis of unknown size."""
    if UNKNOWN in shape:
        raise ValueError(
            f"{layer}: its parameters would have shape {shape}, for an input whose size along an "
            f"axis is not known ({UNKNOWN}); give init_fn the size of that axis."
        )
    return shape


def check_fits(layer: str, sizes: Shape, sizes_out: Shape) -> None:
    """A window must fit into the image."""
    if any(size <= 0 and size != UNKNOWN for size in sizes_out):
        raise ValueError(
            f"{layer}: its window does not fit into an image of {sizes} positions; use "
            "padding='SAME' or a smaller window."
        )
