"""MaxPool and Softmax: finite layers whose infinite networks have no kernel in closed form."""

from collections.abc import Sequence

import jax
import numpy as np
from jax import Array, lax

from ntkjax._layers.checks import Shape, check_axis
from ntkjax._layers.finite import axis_of, one_array, one_shape
from ntkjax._layers.layer import Layer, make_layer
from ntkjax._layers.masking import of_windows
from ntkjax._layers.pool import check_pool
from ntkjax._layers.refusal import MONTE_CARLO, Refusal


def MaxPool(
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str = "VALID",
    batch_axis: int = 0,
    channel_axis: int = -1,
) -> Layer:
    r"""Maximum over a sliding window, for finite networks alone.

    .. math::
        z[P] = \max_i x[p_i].

    Its kernel is the expectation of a product of maxima of correlated Gaussians, which has no
    closed form beyond two positions: `kernel_fn` raises.

    Args:
      window_shape: positions along each spatial axis.
      strides: stride along each spatial axis; None for 1.
      padding: "SAME" (what is outside never is the maximum), "VALID" or "CIRCULAR" (periodic
        images).
      batch_axis: which axis of the input runs over examples.
      channel_axis: which axis of the input runs over channels.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`, of which `kernel_fn` raises when it is called.

    Raises:
      ValueError: an argument is out of its range; when `kernel_fn` is called.

    Source: Novak et al. 2019, arXiv 1810.05148, section 2 (pooling by a mean is the one that keeps
    a Gaussian process).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from ntkjax import stax
      >>> init_fn, apply_fn, _ = stax.MaxPool((2,), (2,))
      >>> apply_fn((), jnp.array([[[1.0], [3.0], [2.0], [0.0]]]))[0, :, 0].tolist()
      [3.0, 2.0]
    """
    pool = check_pool("MaxPool", window_shape, strides, padding, (batch_axis, channel_axis))

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[()]]:
        return pool.shape_out(one_shape("MaxPool", input_shape)), ()

    def apply_fn(params: tuple[()], inputs: Array, **kwargs: object) -> Array:
        inputs = one_array("MaxPool", inputs)
        return pool.reduced(inputs, np.array(-np.inf, inputs.dtype), lax.max)

    reason = (
        "the maximum over a window has no kernel in closed form; use AvgPool or SumPool, or "
        f"{MONTE_CARLO}."
    )

    def mask_fn(mask: Array, shape: Shape) -> Array:
        return of_windows(pool.image_axes(shape), pool.windows)(mask, shape)

    parts = (Refusal(reason),)
    return make_layer("MaxPool", f"{pool!r}", parts, init_fn, apply_fn, pool.axes, mask_fn)


def Softmax(axis: int = -1) -> Layer:
    r"""Exponentials that sum to one along an axis, for finite networks alone.

    .. math::
        z_i = \frac{e^{x_i}}{\sum_j e^{x_j}}.

    It couples what is along the axis. Of channels, each output vanishes as their number grows, and
    over positions there is no closed form: `kernel_fn` raises.

    Args:
      axis: over which the outputs sum to one.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`, of which `kernel_fn` raises when it is called.

    Raises:
      ValueError: when `kernel_fn` is called.
      TypeError: `axis` is no integer.

    Source: Hron et al. 2020, arXiv 2006.10540, section 3 (where attention has closed forms, and
    where it has none).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from ntkjax import stax
      >>> init_fn, apply_fn, _ = stax.Softmax()
      >>> apply_fn((), jnp.zeros((1, 4)))[0].tolist()
      [0.25, 0.25, 0.25, 0.25]
    """
    axis = check_axis("Softmax", "axis", axis)

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[()]]:
        input_shape = one_shape("Softmax", input_shape)
        axis_of("Softmax", "axis", axis, input_shape)
        return input_shape, ()

    def apply_fn(params: tuple[()], inputs: Array, **kwargs: object) -> Array:
        inputs = one_array("Softmax", inputs)
        return jax.nn.softmax(inputs, axis_of("Softmax", "axis", axis, inputs.shape))

    reason = (
        "a softmax has no kernel in closed form; leave it out (the loss may apply it to the "
        f"outputs), or {MONTE_CARLO}."
    )
    return make_layer("Softmax", f"{axis}", (Refusal(reason),), init_fn, apply_fn)
