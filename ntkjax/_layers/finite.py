"""What a finite network is handed: one shape or array for each layer, with the axes that it names.

The infinite network is checked while its signals propagate; these checks say the same of `init_fn`
and `apply_fn`, where JAX would complain in its own terms or broadcast in silence.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._layers.layer import Shape

_MEND = "use parallel to give each branch its own layers, or FanInSum to join them"


def one_shape(layer: str, shape: Any) -> Shape:
    """The shape of one input; refuses the shapes of several branches."""
    if isinstance(shape, (tuple, list)) and all(isinstance(n, (int, np.integer)) for n in shape):
        return tuple(shape)
    raise ValueError(
        f"{layer}: input_shape={shape!r}, expected the shape of one input, a tuple of integers; if "
        f"it is a list of branches, {_MEND}."
    )


def one_array(layer: str, inputs: Any) -> Array:
    """One array of inputs; refuses a list of branches."""
    if isinstance(inputs, (tuple, list)):
        raise ValueError(
            f"{layer}: takes one array, but a list of {len(inputs)} inputs came; {_MEND}."
        )
    return jnp.asarray(inputs)


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


def check_fits(layer: str, sizes: Shape, sizes_out: Shape) -> None:
    """A window must fit into the image."""
    if any(size <= 0 for size in sizes_out):
        raise ValueError(
            f"{layer}: its window does not fit into an image of {sizes} positions; use "
            "padding='SAME' or a smaller window."
        )
