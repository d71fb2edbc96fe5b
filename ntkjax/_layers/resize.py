"""ImageResize: interpolation to another number of positions."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntkjax._kernel.algebra.graph import Graph, Structure, Value, single
from ntkjax._kernel.algebra.operation import LayerError, operation, static
from ntkjax._kernel.arrays import describe
from ntkjax._kernel.operations.axis_map import AxisMap, ExampleMap, Resize
from ntkjax._layers.checks import Shape, check_axis, check_flag
from ntkjax._layers.finite import one_array, one_shape
from ntkjax._layers.layer import Layer, make_layer


@operation
class _ResizeAxes(Structure):
    """The maps of the axes that are resized, once the axes of the input are known."""

    shape: tuple[int, ...] = static()
    method: str = static()
    antialias: bool = static()

    def build(self, graph: Graph, value: Value, place: str) -> Value:
        index = single(value, place)
        signal = graph.nodes[index].signal
        _check_rank(place, self.shape, signal.shape1)
        rules = [None if n == -1 else Resize(n, self.method, self.antialias) for n in self.shape]
        if rules[signal.channel_axis] is not None:
            raise LayerError(
                f"{place}: shape={self.shape} resizes the channel axis {signal.channel_axis}, but "
                "the kernel is that of infinitely many channels; put -1 there."
            )
        spatial = tuple(rules[axis] for axis in signal.spatial_axes)
        if any(rule is not None for rule in spatial):
            index = graph.add(AxisMap(spatial), (index,), place)
        examples = rules[signal.batch_axis]
        return index if examples is None else graph.add(ExampleMap(examples), (index,), place)


def ImageResize(
    shape: Sequence[int],
    method: str | jax.image.ResizeMethod,
    antialias: bool = True,
    precision: Any = lax.Precision.HIGHEST,
    batch_axis: int = 0,
    channel_axis: int = -1,
) -> Layer:
    r"""Resize by interpolation, as `jax.image.resize` does.

    .. math::
        z[P] = \sum_p A_{Pp}\, x[p], \qquad K'[P, Q] = \sum_{p, q} A_{Pp} A_{Qq}\, K[p, q],

    and the same for :math:`\Theta`, with the weights A of the interpolation.

    Args:
      shape: size of every axis afterwards, batch and channels included; -1 for axes that stay as
        they are. That of the channels must be -1 in `kernel_fn`.
      method: "nearest", "linear" (or "bilinear", ...), "cubic", "lanczos3", "lanczos5", or a
        `jax.image.ResizeMethod`.
      antialias: whether to widen the interpolation when an axis becomes smaller.
      precision: of the products in `apply_fn`.
      batch_axis: which axis of the input runs over examples.
      channel_axis: which axis of the input runs over channels.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: an argument is out of its range; when called, the input has other axes.
      TypeError: an axis is no integer, or `antialias` no flag.

    Source: Keys 1981, doi 10.1109/TASSP.1981.1163711 (interpolation by convolution); the arguments
    are those of neural-tangents 0.6.5, whose kernel has "nearest" and "linear" alone.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> network = stax.serial(stax.Conv(8, (3, 3)), stax.ImageResize((-1, 3, 6, -1), "linear"))
      >>> network.kernel_fn(jnp.ones((2, 6, 6, 3)), get="nngp").shape
      (2, 2, 3, 3, 6, 6)
    """
    sizes = tuple(_size(shape, n) for n in shape) if isinstance(shape, Sequence) else None
    if sizes is None:
        raise ValueError(f"ImageResize: shape={describe(shape)}, expected a tuple of integers.")
    name = _method(method).name.lower()
    antialias = check_flag("ImageResize", "antialias", antialias)
    axes = (
        check_axis("ImageResize", "batch_axis", batch_axis),
        check_axis("ImageResize", "channel_axis", channel_axis),
    )

    def shape_out(shape: Shape) -> Shape:
        _check_rank("ImageResize", sizes, shape)
        return tuple(old if new == -1 else new for old, new in zip(shape, sizes, strict=True))

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[()]]:
        return shape_out(one_shape("ImageResize", input_shape)), ()

    def apply_fn(params: tuple[()], inputs: Array, **kwargs: object) -> Array:
        array = one_array("ImageResize", inputs)
        resized = jax.image.resize(array, shape_out(array.shape), name, antialias, precision)
        return jnp.asarray(resized, array.dtype)

    def mask_fn(mask: Array, shape: Shape) -> Array:
        """Masked where all that an output is made of is."""
        held = ~jnp.broadcast_to(mask, shape)
        return apply_fn((), held.astype(np.float32)) == 0

    part = _ResizeAxes(sizes, name, antialias)
    return make_layer(
        "ImageResize", f"{sizes}, '{name}'", (part,), init_fn, apply_fn, axes, mask_fn
    )


def _size(shape: Any, size: Any) -> int:
    """A new size, or -1."""
    number = check_axis("ImageResize", "shape", size)
    if number == -1 or number > 0:
        return number
    raise ValueError(
        f"ImageResize: shape={tuple(shape)} holds {number}; expected positive sizes, and -1 for "
        "axes that stay as they are."
    )


def _method(method: Any) -> jax.image.ResizeMethod:
    if isinstance(method, jax.image.ResizeMethod):
        return method
    try:
        return jax.image.ResizeMethod.from_string(method.lower())
    except (ValueError, AttributeError):
        raise ValueError(
            f"ImageResize: method={describe(method)} is unknown; expected one of 'nearest', "
            "'linear', 'cubic', 'lanczos3', 'lanczos5'."
        ) from None


def _check_rank(place: str, sizes: tuple[int, ...], shape: Shape) -> None:
    if len(sizes) != len(shape):
        raise LayerError(
            f"{place}: shape={sizes} has {len(sizes)} entries, but its input of shape {shape} has "
            f"{len(shape)} axes; give the size of every axis, -1 for those that stay as they are."
        )
