"""The layer of a scalar function and its dual activation."""

from collections.abc import Callable
from typing import Any

from jax import Array

from ntkjax._kernel.operations.activation import Activation
from ntkjax._kernel.operations.pointwise import Dual
from ntkjax._layers.checks import Shape
from ntkjax._layers.finite import one_array, one_shape
from ntkjax._layers.layer import Layer, make_layer


def elementwise(
    name: str, arguments: str, activation: Activation, fn: Callable[[Array], Array]
) -> Layer:
    """A layer which applies `fn` to every activation."""

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[()]]:
        return one_shape(name, input_shape), ()

    def apply_fn(params: tuple[()], inputs: Array, **kwargs: Any) -> Array:
        return fn(one_array(name, inputs))

    return make_layer(name, arguments, (Dual(activation),), init_fn, apply_fn)
