"""Dense: a fully connected layer."""

import jax.numpy as jnp
from jax import Array

from ntkjax._layers.checks import Shape, check_axis, check_count
from ntkjax._layers.finite import axis_of, check_channels, one_shape, with_weights
from ntkjax._layers.layer import Layer, make_layer
from ntkjax._layers.masking import over_channels
from ntkjax._layers.parameterization import Scalar, Scales


def Dense(
    out_dim: int,
    W_std: Scalar = 1.0,
    b_std: Scalar | None = None,
    batch_axis: int = 0,
    channel_axis: int = -1,
    parameterization: str = "ntk",
    s: tuple[int, int] = (1, 1),
) -> Layer:
    r"""Fully connected layer, applied to the channels at each position.

    .. math::
        z_i = \frac{\sigma_w}{\sqrt{N}} \sum_{j=1}^{N} W_{ij} x_j + \sigma_b b_i, \qquad
        K \leftarrow \sigma_w^2 K + \sigma_b^2, \qquad
        \Theta \leftarrow \sigma_w^2 \Theta + \sigma_w^2 K + \sigma_b^2,

    with all :math:`W_{ij}, b_i \sim \mathcal{N}(0, 1)` in the NTK parameterization. In the standard
    one :math:`z = W x / \sqrt{s_0} + b` with :math:`W_{ij} \sim \mathcal{N}(0, \sigma_w^2 s_0/N)`,
    :math:`b_i \sim \mathcal{N}(0, \sigma_b^2)` and
    :math:`\Theta \leftarrow \sigma_w^2 \Theta + (N / s_0) K + 1`.

    Args:
      out_dim: number of output channels of the finite network; the kernel does not depend on it
        (in the standard parameterization, the next layer's does).
      W_std: :math:`\sigma_w`, a number or a traced scalar.
      b_std: :math:`\sigma_b`; None for no bias.
      batch_axis: which axis of the input runs over examples.
      channel_axis: which axis of the input runs over channels.
      parameterization: "ntk" or "standard".
      s: width scalings (s[0], s[1]) of input and output in the standard parameterization: the layer
        has s[1] * out_dim outputs, and its input is s[0] times the nominal width.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: an argument is out of its range.
      TypeError: `W_std` or `b_std` is no real number, or an axis no integer.

    Source: Lee et al. 2018, arXiv 1711.00165, eq. 4-5; Jacot et al. 2018, arXiv 1806.07572; the
    standard parameterization: Sohl-Dickstein et al. 2020, arXiv 2001.07301.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.Dense(10, W_std=2.0, b_std=1.0)
      >>> round(float(kernel_fn(jnp.ones((1, 3)), get="nngp")[0, 0]), 6)
      5.0
    """
    out_dim = check_count("Dense", "out_dim", out_dim)
    batch_axis = check_axis("Dense", "batch_axis", batch_axis)
    channel_axis = check_axis("Dense", "channel_axis", channel_axis)
    scales = Scales.check("Dense", W_std, b_std, parameterization, s)
    width = scales.width(out_dim)

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[Array, Array | None]]:
        input_shape = one_shape("Dense", input_shape)
        axis = axis_of("Dense", "channel_axis", channel_axis, input_shape)
        fan_in = input_shape[axis]
        bias_shape = tuple(width if i == axis else 1 for i in range(len(input_shape)))
        shape = (*input_shape[:axis], width, *input_shape[axis + 1 :])
        return shape, scales.draw(rng, (fan_in, width), bias_shape, fan_in)

    def apply_fn(params: tuple[Array, Array | None], inputs: Array, **kwargs: object) -> Array:
        inputs, weights, biases = with_weights("Dense", inputs, params)
        axis = axis_of("Dense", "channel_axis", channel_axis, inputs.shape)
        check_channels("Dense", inputs.shape[axis], weights.shape[0], inputs.shape)
        product = jnp.moveaxis(jnp.tensordot(inputs, weights, (axis, 0)), -1, axis)
        return scales.combine(product, biases, weights.shape[0])

    parts = (scales.affine(out_dim),)
    axes = (batch_axis, channel_axis)
    label, mask_fn = f"{out_dim}, {scales!r}", over_channels(channel_axis)
    return make_layer("Dense", label, parts, init_fn, apply_fn, axes, mask_fn)
