"""DotGeneral: a fixed array times the activations."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.graph import Graph, Structure, Value, single
from ntkjax._kernel.algebra.operation import LayerError, operation, static
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.arrays import as_floats, check_finite, describe
from ntkjax._kernel.operations.dot import DotMap, Dots, ExampleDot, Weigh
from ntkjax._layers.checks import Shape, check_axes, check_axis
from ntkjax._layers.finite import UNKNOWN, axis_of, one_array, one_shape
from ntkjax._layers.layer import Layer, make_layer

Axes = tuple[tuple[Shape, Shape], tuple[Shape, Shape]]


@operation
class _Dot(Structure):
    """The operation of a product, once the axes of the input are known."""

    array: Array
    is_lhs: bool = static()
    axes: Axes = static()

    def build(self, graph: Graph, value: Value, place: str) -> Value:
        index = single(value, place)
        signal = graph.nodes[index].signal
        dots = _dots(place, self.axes, self.is_lhs, signal.shape1, self.array.shape)
        summed, shared = ([of_x for of_x, _ in pairs] for pairs in (dots.summed, dots.shared))
        if signal.channel_axis in summed + shared:
            raise LayerError(
                f"{place}: dimension_numbers name the channel axis {signal.channel_axis}, but the "
                "kernel is that of infinitely many channels; name batch and spatial axes alone."
            )
        if signal.batch_axis in summed:
            raise LayerError(
                f"{place}: dimension_numbers sum over the batch axis {signal.batch_axis}, without "
                "which there is no kernel of pairs of examples; sum over the kernel instead."
            )
        if signal.batch_axis in shared:
            operation: Any = ExampleDot(self.array, dots)
        elif _keeps_order(dots, signal, self.array.ndim):
            operation = Weigh(self.array, dots)
        else:
            operation = DotMap(self.array, dots, signal)
        return graph.add(operation, (index,), place)


def _keeps_order(dots: Dots, signal: Signal, array_ndim: int) -> bool:
    """Whether the spatial axes stay the same, in the same order."""
    after = dots.axes(len(signal.shape1), array_ndim)
    spatial = [(False, axis) for axis in signal.spatial_axes]
    gone = ((False, signal.batch_axis), (False, signal.channel_axis))
    return [axis for axis in after if axis not in gone] == spatial


def DotGeneral(
    *,
    lhs: Any = None,
    rhs: Any = None,
    dimension_numbers: Any = (((), ()), ((), ())),
    precision: Any = None,
    batch_axis: int = 0,
    channel_axis: int = -1,
) -> Layer:
    r"""Multiply by a fixed array, as `jax.lax.dot_general` does: any linear map of positions.

    .. math::
        z[P] = \sum_p A_{Pp}\, x[p], \qquad K'[P, Q] = \sum_{p, q} A_{Pp} A_{Qq}\, K[p, q],

    and the same for :math:`\Theta`. The array is not trained.

    Args:
      lhs: the left factor, an array or a number; the input is the right one.
      rhs: the right factor; the input is the left one. With neither, nothing happens.
      dimension_numbers: ((contracting axes of the left factor, of the right one), (batch axes of
        the left factor, of the right one)). The result has the batch axes first, then what is left
        of the left factor, then of the right one. The channel axis of the input cannot be among
        them, nor its batch axis among those that are contracted.
      precision: of the product in `apply_fn`; see `jax.lax.Precision`.
      batch_axis: which axis of the input runs over examples.
      channel_axis: which axis of the input runs over channels.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: both factors are given, or `dimension_numbers` are no such tuple; when called,
        they do not fit the input.
      TypeError: a factor holds no real numbers, or an axis is no integer.

    Source: Novak et al. 2020, arXiv 1912.02803, section 2; the arguments are those of
    neural-tangents 0.6.5.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> difference = stax.DotGeneral(
      ...     rhs=jnp.array([1.0, -1.0]), dimension_numbers=(((1,), (0,)), ((), ())))
      >>> difference.kernel_fn(jnp.ones((3, 2, 7, 4)), get="nngp").shape
      (3, 3, 7, 7)
    """
    axes_of_layer = (
        check_axis("DotGeneral", "batch_axis", batch_axis),
        check_axis("DotGeneral", "channel_axis", channel_axis),
    )
    if lhs is not None and rhs is not None:
        raise ValueError(
            "DotGeneral: lhs and rhs are both given, but one of them is the input; pass one alone."
        )
    axes = _axes(dimension_numbers)
    is_lhs = rhs is None
    name = "lhs" if is_lhs else "rhs"
    given = lhs if is_lhs else rhs
    array = None if given is None else as_floats(f"DotGeneral: {name}", given)
    if array is not None:
        check_finite(f"DotGeneral: {name}", array)

    def shape_out(shape: Shape) -> Shape:
        if array is None:
            return shape
        dots = _dots("DotGeneral", axes, is_lhs, shape, array.shape)
        both = dots.axes(len(shape), array.ndim)
        return tuple(array.shape[i] if is_own else shape[i] for is_own, i in both)

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[()]]:
        return shape_out(one_shape("DotGeneral", input_shape)), ()

    def apply_fn(params: tuple[()], inputs: Array, **kwargs: object) -> Array:
        x = one_array("DotGeneral", inputs)
        if array is None:
            return x
        dots = _dots("DotGeneral", axes, is_lhs, x.shape, array.shape)
        return dots.product(jnp.asarray(array, x.dtype), x, precision)

    def mask_fn(mask: Array, shape: Shape) -> Array:
        """Masked where all that an output is made of is."""
        held = ~jnp.broadcast_to(mask, shape)
        if array is None:
            return ~held
        dots = _dots("DotGeneral", axes, is_lhs, shape, array.shape)
        floats = (held.astype(array.dtype), (array != 0).astype(array.dtype))
        return ~(dots.product(floats[1], floats[0]) > 0)

    parts = () if array is None else (_Dot(array, is_lhs, axes),)
    label = "" if array is None else f"{name} of shape {array.shape}, {axes}"
    return make_layer("DotGeneral", label, parts, init_fn, apply_fn, axes_of_layer, mask_fn)


def _axes(dimension_numbers: Any) -> Axes:
    """The numbers as nested tuples."""
    try:
        (lhs_summed, rhs_summed), (lhs_shared, rhs_shared) = dimension_numbers
        summed, shared = (
            tuple(check_axes("DotGeneral", "dimension_numbers", tuple(axes)) for axes in pair)
            for pair in ((lhs_summed, rhs_summed), (lhs_shared, rhs_shared))
        )
        if len(summed[0]) == len(summed[1]) and len(shared[0]) == len(shared[1]):
            return (summed[0], summed[1]), (shared[0], shared[1])
    except (TypeError, ValueError):
        pass
    raise ValueError(
        f"DotGeneral: dimension_numbers={describe(dimension_numbers)}, expected ((contracting axes "
        "of lhs, of rhs), (batch axes of lhs, of rhs)), as many of lhs as of rhs, such as "
        "(((1,), (0,)), ((), ()))."
    )


def _dots(place: str, axes: Axes, is_lhs: bool, shape: Shape, array_shape: Shape) -> Dots:
    """Pairs of axes of the input and of the array."""
    pairs = []
    for of_lhs, of_rhs in axes:
        of_x, own = (of_rhs, of_lhs) if is_lhs else (of_lhs, of_rhs)
        of_x = [axis_of(place, "an axis in dimension_numbers", axis, shape) for axis in of_x]
        if not all(-len(array_shape) <= axis < len(array_shape) for axis in own):
            raise LayerError(
                f"{place}: dimension_numbers name the axes {own} of an array of shape "
                f"{array_shape}; use axes from 0 to {len(array_shape) - 1}."
            )
        own = [axis % len(array_shape) for axis in own]
        pairs.append(tuple(zip(of_x, own, strict=True)))
    summed, shared = pairs
    for k, names in enumerate(("input", "array")):
        named = [pair[k] for pair in summed + shared]
        if len(set(named)) < len(named):
            raise LayerError(
                f"{place}: dimension_numbers name an axis of the {names} twice ({named}); name "
                "each once."
            )
    for of_x, own in summed + shared:
        if shape[of_x] not in (UNKNOWN, array_shape[own]):
            raise LayerError(
                f"{place}: axis {of_x} of its input of shape {shape} meets axis {own} of an array "
                f"of shape {array_shape}, which must be of equal size; name other axes."
            )
    return Dots(is_lhs, summed, shared)
