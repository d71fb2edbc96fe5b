"""Conv: a convolution with shared weights, over any number of spatial axes."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntkjax._kernel.algebra.window import PADDINGS, Window
from ntkjax._kernel.operations.taps import TapSum
from ntkjax._layers.checks import Shape, check_choice, check_count, check_counts
from ntkjax._layers.finite import check_channels, check_fits, one_shape, with_weights
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

    Returns:
      `(init_fn, apply_fn, kernel_fn)`. Without a readout on top, `kernel_fn` returns the kernel
      between all positions, interleaved: (n1, n2, h, h, w, w); with `diagonal_spatial=True`,
      (n1, n2, h, w).

    Raises:
      ValueError: an argument is out of its range; when called, the input has other spatial axes.
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
    taps = check_counts("Conv", "filter_shape", filter_shape)
    ndim = len(taps)
    steps = check_counts("Conv", "strides", (1,) * ndim if strides is None else strides, ndim)
    gaps = check_counts("Conv", "dilation", (1,) * ndim if dilation is None else dilation, ndim)
    padding = check_choice("Conv", "padding", padding, PADDINGS)
    scales = Scales.check("Conv", W_std, b_std, parameterization, s)
    specs = _dimension_numbers(dimension_numbers, ndim)
    lhs, rhs, _ = specs
    width, size = scales.width(out_chan), math.prod(taps)
    # The filter may list its axes in another order than the image does.
    order = [[c for c in rhs if c not in "IO"].index(c) for c in lhs if c not in "NC"]
    windows = tuple(Window(taps[i], steps[i], gaps[i], padding) for i in order)
    image_axes = tuple(i for i, c in enumerate(lhs) if c not in "NC")

    def sizes_out(shape: Shape) -> Shape:
        sizes = tuple(shape[axis] for axis in image_axes)
        after = tuple(window.size_out(size) for window, size in zip(windows, sizes, strict=True))
        check_fits("Conv", sizes, after)
        return after

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[Array, Array | None]]:
        input_shape = one_shape("Conv", input_shape)
        _check_rank(input_shape, ndim, lhs)
        channels = input_shape[lhs.index("C")]
        filters = iter(taps)
        weight_shape = tuple({"O": width, "I": channels}.get(c) or next(filters) for c in rhs)
        bias_shape = tuple(width if c == "C" else 1 for c in lhs)
        shape = list(input_shape)
        shape[lhs.index("C")] = width
        for axis, size_out in zip(image_axes, sizes_out(input_shape), strict=True):
            shape[axis] = size_out
        return tuple(shape), scales.draw(rng, weight_shape, bias_shape, channels * size)

    def apply_fn(params: tuple[Array, Array | None], inputs: Array, **kwargs: object) -> Array:
        inputs, weights, biases = with_weights("Conv", inputs, params)
        _check_rank(inputs.shape, ndim, lhs)
        channels = weights.shape[rhs.index("I")]
        check_channels("Conv", inputs.shape[lhs.index("C")], channels, inputs.shape)
        sizes_out(inputs.shape)
        product = lax.conv_general_dilated(
            pad_images(inputs, image_axes, windows),
            weights,
            steps,
            "VALID",
            rhs_dilation=gaps,
            dimension_numbers=specs,
            precision=lax.Precision.HIGHEST,
        )
        return scales.combine(product, biases, channels * size)

    parts = (TapSum(windows), scales.affine(out_chan, size))
    arguments = f"{out_chan}, {taps}, strides={steps}, padding='{padding}', {scales!r}"
    axes = (lhs.index("N"), lhs.index("C"))

    def mask_fn(mask: Array, shape: Shape) -> Array:
        return of_windows(image_axes, windows)(over_channels(axes[1])(mask, shape), shape)

    return make_layer("Conv", arguments, parts, init_fn, apply_fn, axes, mask_fn)


def pad_images(images: Array, axes: tuple[int, ...], windows: tuple[Window, ...]) -> Array:
    """Pad so that the unpadded window sees what the padded one does."""
    for axis, window in zip(axes, windows, strict=True):
        size = images.shape[axis]
        before = window.before(size)
        after = (window.size_out(size) - 1) * window.stride + window.extent - size - before
        if window.is_circular:
            index = np.arange(-before, size + max(after, 0)) % size
            images = jnp.take(images, index, axis=axis)
        elif before > 0 or after > 0:
            pad = [(0, 0)] * images.ndim
            pad[axis] = (before, max(after, 0))
            images = jnp.pad(images, pad)
    return images


def _dimension_numbers(given: object, ndim: int) -> tuple[str, str, str]:
    """Layouts of input, filter and output."""
    if given is None:
        spatial = "".join(chr(c) for c in range(ord("A"), ord("Z")) if chr(c) not in "NCIO")[:ndim]
        return f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"
    specs = tuple(given) if isinstance(given, (tuple, list)) else ()
    wanted = "three strings such as ('NHWC', 'HWIO', 'NHWC'), each naming every axis once"
    if len(specs) != 3 or not all(isinstance(spec, str) for spec in specs):
        raise ValueError(f"Conv: dimension_numbers={given!r}, expected {wanted}.")
    lhs, rhs, out = specs
    spatial = [c for c in lhs if c not in "NC"]
    complete = set(lhs) == {*spatial, *"NC"} and set(rhs) == {*spatial, *"IO"}
    if not complete or len({len(lhs), len(rhs), len(set(lhs)), len(set(rhs)), ndim + 2}) > 1:
        raise ValueError(f"Conv: dimension_numbers={given!r}, expected {wanted}.")
    if lhs != out:
        raise ValueError(
            f"Conv: dimension_numbers={given!r} transpose the image; use the same layout for input "
            f"and output, here {lhs!r}."
        )
    return lhs, rhs, out


def _check_rank(input_shape: Shape, ndim: int, lhs: str) -> None:
    if len(input_shape) != ndim + 2:
        raise ValueError(
            f"Conv: its input of shape {input_shape} has {len(input_shape)} axes, but filter_shape "
            f"has {ndim} spatial ones and asks for {ndim + 2} (layout {lhs!r}); give a "
            "filter_shape with one entry for each spatial axis of the input."
        )
