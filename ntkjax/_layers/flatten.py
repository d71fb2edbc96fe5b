"""Flatten: positions become channels."""

import math

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.arrays import describe
from ntkjax._kernel.operations.flatten import Trace
from ntkjax._layers.checks import Shape, check_axis
from ntkjax._layers.finite import UNKNOWN, axis_of, one_array, one_shape
from ntkjax._layers.layer import Layer, make_layer


def Flatten(batch_axis: int = 0, batch_axis_out: int = 0) -> Layer:
    r"""Make one vector of each example's positions and channels.

    .. math::
        K' = \frac{1}{n} \sum_p K[p, p], \qquad \Theta' = \frac{1}{n} \sum_p \Theta[p, p].

    The output's channels are not identically distributed any more, so that a nonlinearity on top
    needs a Dense in between.

    Args:
      batch_axis: which axis of the input runs over examples.
      batch_axis_out: which of the two axes of the output runs over examples, 0 or 1.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: `batch_axis_out` is none of 0, 1, -1, -2.
      TypeError: an axis is no integer.

    Source: Arora et al. 2019, arXiv 1904.11955, section 4.1 (vanilla CNTK).

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Conv(8, (3,), padding="SAME"), stax.Flatten())
      >>> kernel_fn(jnp.ones((2, 5, 3)), get="nngp").shape
      (2, 2)
    """
    batch_axis = check_axis("Flatten", "batch_axis", batch_axis)
    out = check_axis("Flatten", "batch_axis_out", batch_axis_out)
    if out not in (0, 1, -1, -2):
        raise ValueError(f"Flatten: batch_axis_out={describe(batch_axis_out)}, expected 0 or 1.")
    out = out % 2

    def shape_out(shape: Shape) -> Shape:
        batch, axis = shape[batch_axis], batch_axis % len(shape)
        others = [n for i, n in enumerate(shape) if i != axis]
        features = UNKNOWN if UNKNOWN in others else math.prod(others)
        return (batch, features) if out == 0 else (features, batch)

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[()]]:
        input_shape = one_shape("Flatten", input_shape)
        axis_of("Flatten", "batch_axis", batch_axis, input_shape)
        return shape_out(input_shape), ()

    def apply_fn(params: tuple[()], inputs: Array, **kwargs: object) -> Array:
        inputs = one_array("Flatten", inputs)
        axis_of("Flatten", "batch_axis", batch_axis, inputs.shape)
        return flattened(inputs)

    def flattened(inputs: Array) -> Array:
        first = jnp.moveaxis(inputs, batch_axis, 0)
        flat = first.reshape(first.shape[0], math.prod(first.shape[1:]))
        return flat if out == 0 else flat.T

    parts = (Trace(batch_axis, out),)
    arguments = "" if (batch_axis, out) == (0, 0) else f"{batch_axis}, {out}"

    def mask_fn(mask: Array, shape: Shape) -> Array:
        return flattened(jnp.broadcast_to(mask, shape))

    return make_layer("Flatten", arguments, parts, init_fn, apply_fn, (batch_axis, None), mask_fn)
