"""Conv: a convolution with shared weights, over any number of spatial axes."""

from collections.abc import Sequence

from jax import Array, lax

from ntkjax._kernel.operations.taps import TapSum
from ntkjax._layers.checks import Shape, check_count
from ntkjax._layers.finite import check_channels, one_shape, with_weights
from ntkjax._layers.geometry import Geometry, pad_images
from ntkjax._layers.layer import Layer, make_layer
from ntkjax._layers.masking import of_windows, over_channels
from ntkjax._layers.parameterization import Scalar, Scales


def Conv(
    out_chan: int,
    filter_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str = "VALID",
    W_std: Scalar = 1.0,
    b_std: Scalar | None = None,
    dimension_numbers: tuple[str, str, str] | None = None,
    parameterization: str = "ntk",
    s: tuple[int, int] = (1, 1),
    dilation: Sequence[int] | None = None,
    feature_group_count: int = 1,
) -> Layer:
    r"""Convolution over any number of spatial axes.

    With q taps, tap i of output P at :math:`p_i = \mathrm{stride} \cdot P + \mathrm{dilation}
    \cdot i - \mathrm{before}`, and zeros outside the image,

    .. math::
        z_c[P] = \frac{\sigma_w}{\sqrt{q N}} \sum_{i, j} W_{cij}\, x_j[p_i] + \sigma_b b_c, \qquad
        K'[P, Q] = \frac{\sigma_w^2}{q} \sum_i K[p_i, q_i] + \sigma_b^2,

    and :math:`\Theta' = K' + (\sigma_w^2 / q) \sum_i \Theta[p_i, q_i]` in the NTK
    parameterization; for the standard one see `Dense`, with N q in place of N.

    Args:
      out_chan: number of output channels of the finite network.
      filter_shape: taps along each spatial axis.
      strides: stride along each spatial axis; None for 1.
      padding: "SAME", "VALID" or "CIRCULAR" (periodic images).
      W_std: :math:`\sigma_w`, a number or a traced scalar.
      b_std: :math:`\sigma_b`; None for no bias.
      dimension_numbers: layouts of input, filter and output in JAX's notation, such as
        ("NCHW", "OIHW", "NCHW"); None for ("N...C", "...IO", "N...C").
      parameterization: "ntk" or "standard".
      s: width scalings of input and output in the standard parameterization; see `Dense`.
      dilation: distance between neighbouring taps along each spatial axis; None for 1.
      feature_group_count: number of groups of channels, G: output channels of a group see the
        input channels of that group alone, N / G of them. The kernel is that of one group, with
        N / G in place of N in the standard parameterization. Of inputs of the network, whose
        channels differ, groups see different things, and the output is no Gaussian: a Dense or Conv
        comes between it and the next nonlinearity.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`. Without a readout on top, `kernel_fn` returns the kernel
      between all positions, interleaved: (n1, n2, h, h, w, w); with `diagonal_spatial=True`,
      (n1, n2, h, w).

    Raises:
      ValueError: an argument is out of its range; when called, the input has other spatial axes, or
        channels that cannot be divided into groups.
      TypeError: `W_std` or `b_std` is no real number.

    Source: Arora et al. 2019, arXiv 1904.11955, section 4; Novak et al. 2019, arXiv 1810.05148.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.Conv(8, (3, 3), padding="SAME")
      >>> kernel_fn(jnp.ones((2, 5, 4, 3)), get="nngp").shape
      (2, 2, 5, 5, 4, 4)
    """
    out_chan = check_count("Conv", "out_chan", out_chan)
    geometry = Geometry.check("Conv", filter_shape, strides, padding, dimension_numbers, dilation)
    scales = Scales.check("Conv", W_std, b_std, parameterization, s)
    groups = check_count("Conv", "feature_group_count", feature_group_count)
    width, size = scales.width(out_chan), geometry.size
    if width % groups:
        raise ValueError(
            f"Conv: feature_group_count={groups} does not divide its {width} output channels; give "
            "a multiple of it as out_chan."
        )

    def inputs_of_group(shape: Shape) -> int:
        channels = geometry.channels(shape)
        if channels % groups:
            raise ValueError(
                f"Conv: feature_group_count={groups} does not divide the {channels} channels of "
                f"its input of shape {shape}; give the layer before it a multiple of it."
            )
        return channels // groups

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[Array, Array | None]]:
        input_shape = one_shape("Conv", input_shape)
        sizes = geometry.sizes_out(input_shape)
        channels = inputs_of_group(input_shape)
        weights = geometry.weight_shape(channels, width)
        params = scales.draw(rng, weights, geometry.bias_shape(width), channels * size)
        return geometry.shape_out(input_shape, width, sizes), params

    def apply_fn(params: tuple[Array, Array | None], inputs: Array, **kwargs: object) -> Array:
        inputs, weights, biases = with_weights("Conv", inputs, params)
        geometry.sizes_out(inputs.shape)
        channels = geometry.inputs_of(weights)
        of_inputs = geometry.channels(inputs.shape)
        check_channels("Conv", of_inputs, channels * groups, inputs.shape)
        product = lax.conv_general_dilated(
            pad_images(inputs, geometry.image_axes, geometry.windows),
            weights,
            geometry.strides,
            "VALID",
            rhs_dilation=geometry.dilation,
            dimension_numbers=geometry.specs,
            feature_group_count=groups,
            precision=lax.Precision.HIGHEST,
        )
        return scales.combine(product, biases, channels * size)

    parts = (TapSum(geometry.windows), scales.affine(out_chan, size, groups))
    arguments = f"{out_chan}, {geometry!r}, {scales!r}"
    arguments += f", feature_group_count={groups}" if groups > 1 else ""

    def mask_fn(mask: Array, shape: Shape) -> Array:
        below = over_channels(geometry.axes[1])(mask, shape)
        return of_windows(geometry.image_axes, geometry.windows)(below, shape)

    return make_layer("Conv", arguments, parts, init_fn, apply_fn, geometry.axes, mask_fn)
