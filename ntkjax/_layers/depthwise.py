"""DepthwiseConv: a convolution of each channel alone."""

from collections.abc import Sequence

from jax import Array, lax

from ntkjax._kernel.operations.depthwise import Depthwise
from ntkjax._kernel.operations.taps import TapSum
from ntkjax._layers.checks import Shape, check_count
from ntkjax._layers.finite import check_channels, one_shape, with_weights
from ntkjax._layers.geometry import Geometry, pad_images
from ntkjax._layers.layer import Layer, make_layer
from ntkjax._layers.masking import of_windows, over_channels
from ntkjax._layers.parameterization import Scalar, Scales


def DepthwiseConv(
    filter_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str = "VALID",
    W_std: Scalar = 1.0,
    b_std: Scalar | None = None,
    dimension_numbers: tuple[str, str, str] | None = None,
    parameterization: str = "ntk",
    dilation: Sequence[int] | None = None,
    depth_multiplier: int = 1,
) -> Layer:
    r"""Convolution of each channel with a filter (or a few) of its own.

    With the q taps :math:`p_i` of `Conv` and m filters for each channel,

    .. math::
        z_{cm}[P] = \frac{\sigma_w}{\sqrt{q}} \sum_i W_{cmi}\, x_c[p_i] + \sigma_b b_{cm}, \qquad
        K'[P, Q] = \frac{\sigma_w^2}{q} \sum_i K[p_i, q_i] + \sigma_b^2,

    and :math:`\Theta' = K' + (\sigma_w^2 / q) \sum_i \Theta[p_i, q_i]` in the NTK
    parameterization; in the standard one, with weights of standard deviation
    :math:`\sigma_w / \sqrt{q}`, :math:`\sum_i K[p_i, q_i] + 1` in place of :math:`K'`. Each
    output is a weight times an activation, which is not Gaussian: between this layer and the next
    nonlinearity comes a Dense or Conv, as in depthwise separable convolutions.

    Args:
      filter_shape: taps along each spatial axis.
      strides: stride along each spatial axis; None for 1.
      padding: "SAME", "VALID" or "CIRCULAR" (periodic images).
      W_std: :math:`\sigma_w`, a number or a traced scalar.
      b_std: :math:`\sigma_b`; None for no bias.
      dimension_numbers: layouts of input, filter and output in JAX's notation, such as
        ("NCHW", "OIHW", "NCHW"); None for ("N...C", "...IO", "N...C").
      parameterization: "ntk" or "standard".
      dilation: distance between neighbouring taps along each spatial axis; None for 1.
      depth_multiplier: m, filters for each channel; they make m times as many channels.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: an argument is out of its range; when called, the input has other spatial axes.
      TypeError: `W_std` or `b_std` is no real number.

    Source: Chollet 2017, arXiv 1610.02357 (depthwise separable convolutions); the kernel is the
    expectation over independent weights, as of Novak et al. 2019, arXiv 1810.05148.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> separable = stax.serial(
      ...     stax.DepthwiseConv((3, 3), padding="SAME"), stax.Conv(8, (1, 1)), stax.Relu())
      >>> separable.kernel_fn(jnp.ones((2, 5, 4, 3)), get="nngp").shape
      (2, 2, 5, 5, 4, 4)
    """
    times = check_count("DepthwiseConv", "depth_multiplier", depth_multiplier)
    geometry = Geometry.check(
        "DepthwiseConv", filter_shape, strides, padding, dimension_numbers, dilation
    )
    scales = Scales.check("DepthwiseConv", W_std, b_std, parameterization, (1, 1))
    size = geometry.size
    outputs = geometry.specs[1].index("O")

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[Array, Array | None]]:
        input_shape = one_shape("DepthwiseConv", input_shape)
        sizes, width = geometry.sizes_out(input_shape), times * geometry.channels(input_shape)
        params = scales.draw(rng, geometry.weight_shape(1, width), geometry.bias_shape(width), size)
        return geometry.shape_out(input_shape, width, sizes), params

    def apply_fn(params: tuple[Array, Array | None], inputs: Array, **kwargs: object) -> Array:
        inputs, weights, biases = with_weights("DepthwiseConv", inputs, params)
        geometry.sizes_out(inputs.shape)
        channels = geometry.channels(inputs.shape)
        check_channels("DepthwiseConv", channels, weights.shape[outputs] // times, inputs.shape)
        product = lax.conv_general_dilated(
            pad_images(inputs, geometry.image_axes, geometry.windows),
            weights,
            geometry.strides,
            "VALID",
            rhs_dilation=geometry.dilation,
            dimension_numbers=geometry.specs,
            feature_group_count=channels,
            precision=lax.Precision.HIGHEST,
        )
        return scales.combine(product, biases, size)

    affine = scales.affine(times, size)
    parts = (
        TapSum(geometry.windows),
        Depthwise(affine.weight_var, affine.bias_var, times, affine.width_scale),
    )
    arguments = f"{geometry!r}, {scales!r}, depth_multiplier={times}"

    def mask_fn(mask: Array, shape: Shape) -> Array:
        below = over_channels(geometry.axes[1])(mask, shape)
        return of_windows(geometry.image_axes, geometry.windows)(below, shape)

    return make_layer("DepthwiseConv", arguments, parts, init_fn, apply_fn, geometry.axes, mask_fn)
