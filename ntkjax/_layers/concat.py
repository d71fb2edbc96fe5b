"""FanInConcat: branches side by side along channels, positions or examples."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.graph import Graph, Join, Structure, Value, single
from ntkjax._kernel.algebra.operation import LayerError, operation, static
from ntkjax._kernel.operations.combine import ChannelConcat
from ntkjax._kernel.operations.concat import BatchConcat, PositionConcat
from ntkjax._layers.checks import Shape, check_axis
from ntkjax._layers.finite import UNKNOWN, axis_of, branch_arrays, branch_shapes
from ntkjax._layers.layer import Layer, make_layer


@operation
class _Concatenate(Structure):
    """Branches side by side along an axis, whose meaning is known once the input is."""

    axis: int = static()

    def build(self, graph: Graph, value: Value, place: str) -> Value:
        first = graph.nodes[single(value[0] if isinstance(value, tuple) else value, place)].signal
        ndim = len(first.shape1)
        if not -ndim <= self.axis < ndim:
            raise LayerError(
                f"{place}: axis={self.axis} is no axis of its first branch of shape "
                f"{first.shape1}; use an axis from {-ndim} to {ndim - 1}."
            )
        axis = self.axis % ndim
        if axis == first.channel_axis:
            return Join(ChannelConcat()).build(graph, value, place)
        if axis == first.batch_axis:
            return Join(BatchConcat()).build(graph, value, place)
        return Join(PositionConcat(first.spatial_axes.index(axis))).build(graph, value, place)


def FanInConcat(axis: int = -1) -> Layer:
    r"""Put the branches side by side along an axis.

    Along channels, with :math:`c_b` channels in branch b,

    .. math::
        K' = \frac{\sum_b c_b K_b}{\sum_b c_b}, \qquad
        \Theta' = \frac{\sum_b c_b \Theta_b}{\sum_b c_b},

    of any branches. Channels of different branches are not identically distributed: a Dense or Conv
    comes between them and the next nonlinearity. Along positions (or examples), branches are
    zero-mean Gaussians that share no weights, the result is Gaussian, and

    .. math::
        K'[p, q] = K_b[p, q], \quad \Theta'[p, q] = \Theta_b[p, q]

    where p and q are positions (or examples) of one branch b, and 0 elsewhere.

    Args:
      axis: an axis of the branches; all others must be of the same size in all of them.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`, which take lists.

    Raises:
      ValueError: when called, shapes differ in another axis; or, along positions or examples, a
        branch is not Gaussian, or two branches depend on the same weights.
      TypeError: `axis` is no integer.

    Source: Novak et al. 2020, arXiv 1912.02803, section 2.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(
      ...     stax.FanOut(2),
      ...     stax.parallel(stax.Dense(6, W_std=2.0), stax.serial(stax.Dense(2), stax.Relu())),
      ...     stax.FanInConcat())
      >>> float(kernel_fn(jnp.ones((1, 3)), get="nngp")[0, 0])  # (6 * 4 + 2 * 0.5) / 8
      3.125
    """
    axis = check_axis("FanInConcat", "axis", axis)

    def place(shapes: list[Shape]) -> int:
        """The axis, which is not negative, once all shapes agree but for it."""
        one = axis_of("FanInConcat", "axis", axis, shapes[0])
        if len({(*shape[:one], -1, *shape[one + 1 :]) for shape in shapes}) > 1:
            raise ValueError(
                f"FanInConcat: its branches have shapes {shapes}, which differ in more than axis "
                f"{one}, along which they are put side by side; give the branches the same "
                "channels, strides and padding, but for that axis."
            )
        return one

    def init_fn(rng: Array, input_shape: Any) -> tuple[Any, tuple[()]]:
        shapes = branch_shapes("FanInConcat", input_shape)
        one = place(shapes)
        sizes = [shape[one] for shape in shapes]
        size = UNKNOWN if UNKNOWN in sizes else sum(sizes)
        return (*shapes[0][:one], size, *shapes[0][one + 1 :]), ()

    def apply_fn(params: tuple[()], inputs: Any, **kwargs: Any) -> Any:
        arrays = branch_arrays("FanInConcat", inputs)
        return jnp.concatenate(arrays, place([array.shape for array in arrays]))

    def mask_fn(masks: list[Array], shapes: list[Shape]) -> Array:
        """The masks side by side, in full along the axis."""
        one = place(shapes)
        sizes = [max(lengths) for lengths in zip(*(mask.shape for mask in masks), strict=True)]
        full = [
            jnp.broadcast_to(mask, (*sizes[:one], shape[one], *sizes[one + 1 :]))
            for mask, shape in zip(masks, shapes, strict=True)
        ]
        return jnp.concatenate(full, one)

    return make_layer(
        "FanInConcat", f"{axis}", (_Concatenate(axis),), init_fn, apply_fn, None, mask_fn
    )
