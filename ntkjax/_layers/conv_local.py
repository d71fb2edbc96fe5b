"""ConvLocal: a convolution whose weights are not shared between positions."""

from collections.abc import Sequence

from jax import Array, lax

from ntkjax._kernel.operations.local import Kept, Unshared
from ntkjax._kernel.operations.taps import TapSum
from ntkjax._layers.checks import Shape, check_count
from ntkjax._layers.finite import check_channels, one_shape, with_weights
from ntkjax._layers.geometry import Geometry, pad_images
from ntkjax._layers.layer import Layer, make_layer
from ntkjax._layers.masking import of_windows, over_channels
from ntkjax._layers.parameterization import Scalar, Scales


def ConvLocal(
    out_chan: int,
    filter_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str = "VALID",
    W_std: Scalar = 1.0,
    b_std: Scalar | None = None,
    dimension_numbers: tuple[str, str, str] | None = None,
    parameterization: str = "ntk",
    s: tuple[int, int] = (1, 1),
) -> Layer:
    r"""Convolution with weights and biases of its own at each position (locally connected).

    With the taps :math:`p_i` of `Conv`,

    .. math::
        z_c[P] = \frac{\sigma_w}{\sqrt{q N}} \sum_{i, j} W_{cijP}\, x_j[p_i] + \sigma_b b_{cP},
        \qquad
        K'[P, P] = \frac{\sigma_w^2}{q} \sum_i K[p_i, p_i] + \sigma_b^2,

    and :math:`\Theta'[P, P]` as of `Conv`; both are 0 for different positions, which share no
    weights.

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

    Returns:
      `(init_fn, apply_fn, kernel_fn)`. Parameters are weights, laid out as the filter is, with the
      output's positions in place of taps and all that an output reads in place of input channels;
      and biases of the shape of one output.

    Raises:
      ValueError: an argument is out of its range; when called, the input has other spatial axes.
      TypeError: `W_std` or `b_std` is no real number.

    Source: Novak et al. 2019, arXiv 1810.05148, section 2.2.3 (locally connected networks).

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.ConvLocal(8, (2,))
      >>> kernel_fn(jnp.ones((1, 3, 4)), get="nngp")[0, 0].tolist()
      [[1.0, 0.0], [0.0, 1.0]]
    """
    out_chan = check_count("ConvLocal", "out_chan", out_chan)
    geometry = Geometry.check("ConvLocal", filter_shape, strides, padding, dimension_numbers)
    scales = Scales.check("ConvLocal", W_std, b_std, parameterization, s)
    width, size = scales.width(out_chan), geometry.size
    image, filters, _ = geometry.specs

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[Array, Array | None]]:
        input_shape = one_shape("ConvLocal", input_shape)
        shape = geometry.shape_out(input_shape, width, geometry.sizes_out(input_shape))
        fan_in = geometry.channels(input_shape) * size
        weights = tuple({"O": width, "I": fan_in}.get(c) or shape[image.index(c)] for c in filters)
        biases = tuple(1 if c == "N" else n for c, n in zip(image, shape, strict=True))
        return shape, scales.draw(rng, weights, biases, fan_in)

    def apply_fn(params: tuple[Array, Array | None], inputs: Array, **kwargs: object) -> Array:
        inputs, weights, biases = with_weights("ConvLocal", inputs, params)
        sizes, fan_in = geometry.sizes_out(inputs.shape), geometry.inputs_of(weights)
        channels = geometry.channels(inputs.shape)
        check_channels("ConvLocal", channels, fan_in // size, inputs.shape)
        drawn = geometry.shape_out(inputs.shape, width, sizes)
        of_weights = tuple(weights.shape[filters.index(c)] for c in image if c not in "NC")
        if of_weights != sizes:
            raise ValueError(
                f"ConvLocal: its input of shape {inputs.shape} leads to {sizes} positions, but its "
                f"weights were drawn for {of_weights}; call init_fn with the shape of these inputs."
            )
        product = lax.conv_general_dilated_local(
            pad_images(inputs, geometry.image_axes, geometry.windows),
            weights,
            geometry.strides,
            "VALID",
            geometry.taps,
            dimension_numbers=geometry.specs,
            precision=lax.Precision.HIGHEST,
        )
        return scales.combine(product.reshape(drawn), biases, fan_in)

    parts = (TapSum(geometry.windows), scales.affine(out_chan, size), Kept(), Unshared())
    arguments = f"{out_chan}, {geometry!r}, {scales!r}"

    def mask_fn(mask: Array, shape: Shape) -> Array:
        below = over_channels(geometry.axes[1])(mask, shape)
        return of_windows(geometry.image_axes, geometry.windows)(below, shape)

    return make_layer("ConvLocal", arguments, parts, init_fn, apply_fn, geometry.axes, mask_fn)
