"""ConvTranspose: a convolution of an image with zeros between its positions."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntkjax._kernel.algebra.graph import Part
from ntkjax._kernel.algebra.window import Window
from ntkjax._kernel.operations.dilate import Dilate, TransposedTapSum
from ntkjax._layers.checks import Shape, check_count
from ntkjax._layers.finite import UNKNOWN, check_channels, one_shape, sizes_after, with_weights
from ntkjax._layers.geometry import Geometry, pad_images
from ntkjax._layers.layer import Layer, make_layer
from ntkjax._layers.masking import over_channels
from ntkjax._layers.parameterization import Scalar, Scales


def ConvTranspose(
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
    r"""Transposed convolution, which makes images larger by its strides.

    Zeros stand between the input's positions, and a convolution of stride 1 slides over them. With
    q taps, stride s and :math:`p_i = (P + i - \mathrm{before}) / s`,

    .. math::
        z_c[P] = \frac{\sigma_w}{\sqrt{q N}} \sum_{i, j} W_{cij}\, x_j[p_i] + \sigma_b b_c, \qquad
        K'[P, Q] = \frac{\sigma_w^2}{q} \sum_i K[p_i, q_i] + \sigma_b^2,

    where taps count for which :math:`p_i` (and :math:`q_i`) is a position of the image, and
    :math:`\Theta' = K' + (\sigma_w^2 / q) \sum_i \Theta[p_i, q_i]` in the NTK parameterization.
    An output position is masked where a masked position of the input reaches it.

    Args:
      out_chan: number of output channels of the finite network.
      filter_shape: taps along each spatial axis.
      strides: stride along each spatial axis; None for 1.
      padding: of n positions, "SAME" makes s n; "VALID" those that any tap reaches, s n and
        max(q - s, 0) more; "CIRCULAR" s n, on a ring.
      W_std: :math:`\sigma_w`, a number or a traced scalar.
      b_std: :math:`\sigma_b`; None for no bias.
      dimension_numbers: layouts of input, filter and output in JAX's notation, such as
        ("NCHW", "OIHW", "NCHW"); None for ("N...C", "...IO", "N...C").
      parameterization: "ntk" or "standard".
      s: width scalings of input and output in the standard parameterization; see `Dense`.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: an argument is out of its range; when called, the input has other spatial axes.
      TypeError: `W_std` or `b_std` is no real number.

    Source: Dumoulin & Visin 2016, arXiv 1603.07285, section 4; the kernel is that of `Conv` on the
    dilated image.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.ConvTranspose(8, (2, 2), (2, 2), "SAME")
      >>> kernel_fn(jnp.ones((2, 5, 4, 3)), get="nngp").shape
      (2, 2, 10, 10, 8, 8)
    """
    out_chan = check_count("ConvTranspose", "out_chan", out_chan)
    geometry = Geometry.check("ConvTranspose", filter_shape, strides, padding, dimension_numbers)
    scales = Scales.check("ConvTranspose", W_std, b_std, parameterization, s)
    width, size = scales.width(out_chan), geometry.size
    steps = tuple(geometry.strides[i] for i in geometry.order)
    windows = tuple(
        _window(geometry.taps[i], geometry.strides[i], geometry.padding) for i in geometry.order
    )

    def sizes_out(shape: Shape) -> Shape:
        sizes = zip(geometry.sizes(shape), steps, strict=True)
        return sizes_after(windows, tuple(n if n == UNKNOWN else n * step for n, step in sizes))

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[Array, Array | None]]:
        input_shape = one_shape("ConvTranspose", input_shape)
        shape = geometry.shape_out(input_shape, width, sizes_out(input_shape))
        channels = geometry.channels(input_shape)
        weights = geometry.weight_shape(channels, width)
        return shape, scales.draw(rng, weights, geometry.bias_shape(width), channels * size)

    def apply_fn(params: tuple[Array, Array | None], inputs: Array, **kwargs: object) -> Array:
        inputs, weights, biases = with_weights("ConvTranspose", inputs, params)
        geometry.check_rank(inputs.shape)
        channels = geometry.inputs_of(weights)
        of_inputs = geometry.channels(inputs.shape)
        check_channels("ConvTranspose", of_inputs, channels, inputs.shape)
        between = [(0, 0, 0)] * inputs.ndim
        for axis, step in zip(geometry.image_axes, steps, strict=True):
            between[axis] = (0, step - 1, step - 1)
        dilated = lax.pad(inputs, jnp.zeros((), inputs.dtype), between)
        product = lax.conv_general_dilated(
            pad_images(dilated, geometry.image_axes, windows),
            weights,
            (1,) * len(steps),
            "VALID",
            dimension_numbers=geometry.specs,
            precision=lax.Precision.HIGHEST,
        )
        return scales.combine(product, biases, channels * size)

    parts: tuple[Part, ...] = (TransposedTapSum(windows), scales.affine(out_chan, size))
    if set(steps) != {1}:
        parts = (Dilate(steps, geometry.padding == "CIRCULAR"), *parts)
    arguments = f"{out_chan}, {geometry!r}, {scales!r}"

    def mask_fn(mask: Array, shape: Shape) -> Array:
        """What some masked position reaches."""
        mask = over_channels(geometry.axes[1])(mask, shape)
        for axis, window, step in zip(geometry.image_axes, windows, steps, strict=True):
            size = shape[axis]
            reached = window.reached(size * step)[:, ::step].astype(np.float32)
            full = jnp.broadcast_to(mask, (*mask.shape[:axis], size, *mask.shape[axis + 1 :]))
            counts = jnp.tensordot(reached, full.astype(np.float32), (1, axis))
            mask = jnp.moveaxis(counts, 0, axis) > 0
        return mask

    return make_layer("ConvTranspose", arguments, parts, init_fn, apply_fn, geometry.axes, mask_fn)


def _window(taps: int, stride: int, padding: str) -> Window:
    """The window that slides over n positions, each followed by stride - 1 zeros."""
    reach = taps - 1  # from the first output that sees position 0 to position 0
    more = max(taps - stride, 0)
    if padding == "VALID":
        return Window(taps, padding=(reach, more))
    if padding == "CIRCULAR":
        # Of the outputs that any tap reaches, those in the middle; others come around.
        return Window(taps, padding="CIRCULAR", start=reach - more // 2)
    # As many before as after, and one more before; but no more than reach an output.
    before = reach if stride > reach else -(-(reach + stride - 1) // 2)
    return Window(taps, padding=(before, reach - before))
