"""LayerNorm."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.graph import Graph, Structure, Value, single
from ntkjax._kernel.algebra.operation import LayerError, operation, static
from ntkjax._kernel.operations.normalize import Normalize, NormalizeBatch
from ntkjax._layers.checks import Shape, check_axes, check_axis, check_number
from ntkjax._layers.finite import axis_of, one_array, one_shape
from ntkjax._layers.layer import Layer, make_layer
from ntkjax._layers.masking import masked_mean


@operation
class _NormalizeAxes(Structure):
    """Normalisation over axes of the array, whose meaning is known once the input is."""

    eps: float | Array
    axes: tuple[int, ...] = static()

    def build(self, graph: Graph, value: Value, place: str) -> Value:
        index = single(value, place)
        signal = graph.nodes[index].signal
        ndim = len(signal.shape1)
        if not all(-ndim <= axis < ndim for axis in self.axes):
            raise LayerError(
                f"{place}: axis={self.axes} are no axes of its input of shape {signal.shape1}; use "
                f"axes from {-ndim} to {ndim - 1}."
            )
        axes = {axis % ndim for axis in self.axes}
        if signal.channel_axis not in axes:
            raise LayerError(
                f"{place}: axis={self.axes} must hold the channel axis {signal.channel_axis}, over "
                "which the kernel is defined; add it."
            )
        over = tuple(i for i, axis in enumerate(signal.spatial_axes) if axis in axes)
        kind = NormalizeBatch if signal.batch_axis in axes else Normalize
        return graph.add(kind(self.eps, over), (index,), place)


def LayerNorm(
    axis: int | Sequence[int] = -1,
    eps: float = 1e-12,
    batch_axis: int = 0,
    channel_axis: int = -1,
) -> Layer:
    r"""Subtract the mean and divide by the standard deviation over channels (and positions).

    .. math::
        K' = \frac{K}{\sqrt{(\epsilon + v_1)(\epsilon + v_2)}}, \qquad
        \Theta' = \frac{\Theta}{\sqrt{(\epsilon + v_1)(\epsilon + v_2)}},

    with v the variances :math:`K[p, p]` of each input, averaged over the normalised positions. The
    mean over infinitely many Gaussian channels vanishes.

    Args:
      axis: axes to normalise over; the channel axis must be among them. With the batch axis, the
        variance is that of all examples of a batch, x1 or x2, and the kernel takes whole batches.
      eps: added to the variance; with 0, points of no variance stay zero.
      batch_axis: which axis of the input runs over examples.
      channel_axis: which axis of the input runs over channels.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: `eps` is negative; when called, the input is not Gaussian or `axis` does not fit.
      TypeError: `eps` is no real number, or an axis no integer.

    Source: Ba et al. 2016, arXiv 1607.06450; its kernel: Novak et al. 2020, arXiv 1912.02803,
    appendix E.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8, W_std=3.0), stax.LayerNorm())
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 6)
      1.0
    """
    axes = check_axes("LayerNorm", "axis", axis)
    batch_axis = check_axis("LayerNorm", "batch_axis", batch_axis)
    channel_axis = check_axis("LayerNorm", "channel_axis", channel_axis)
    added = check_number("LayerNorm", "eps", eps)
    if isinstance(added, float) and added < 0:
        raise ValueError(f"LayerNorm: eps={added}, expected a number of at least 0.")

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[()]]:
        input_shape = one_shape("LayerNorm", input_shape)
        for one in axes:
            axis_of("LayerNorm", "axis", one, input_shape)
        return input_shape, ()

    def apply_fn(
        params: tuple[()], inputs: Array, *, mask: Array | None = None, **kwargs: object
    ) -> Array:
        inputs = one_array("LayerNorm", inputs)
        over = tuple({axis_of("LayerNorm", "axis", one, inputs.shape) for one in axes})
        centred = inputs - masked_mean(inputs, mask, over, keepdims=True)
        if mask is not None:
            centred = jnp.where(mask, jnp.zeros((), centred.dtype), centred)
        variance = masked_mean(jnp.square(centred), mask, over, keepdims=True)
        variance = variance + jnp.asarray(added, variance.dtype)
        positive = variance > 0
        return jnp.where(positive, centred / jnp.sqrt(jnp.where(positive, variance, 1.0)), 0.0)

    parts = (_NormalizeAxes(added, axes),)
    label = f"{axes[0] if len(axes) == 1 else axes}"
    return make_layer("LayerNorm", label, parts, init_fn, apply_fn, (batch_axis, channel_axis))
