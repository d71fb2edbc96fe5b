"""BatchNorm: with given statistics an affine map; over the batch it has no kernel."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._jax_compat import is_traced
from ntkjax._kernel.algebra.graph import Part
from ntkjax._kernel.arrays import real_array
from ntkjax._kernel.operations.standardize import Standardize
from ntkjax._layers.checks import Shape, check_axis, check_number
from ntkjax._layers.finite import axis_of, one_array, one_shape
from ntkjax._layers.layer import Layer, make_layer
from ntkjax._layers.refusal import MONTE_CARLO, Refusal


def BatchNorm(
    mean: Any = None,
    variance: Any = None,
    eps: float = 1e-5,
    batch_axis: int = 0,
    channel_axis: int = -1,
) -> Layer:
    r"""Subtract means and divide by standard deviations: given ones, or those of the batch.

    With given statistics, as of a trained network, and :math:`a_c = 1 / \sqrt{\sigma_c^2 +
    \epsilon}`,

    .. math::
        z_c = a_c (x_c - m_c), \qquad
        K' = \overline{a^2} K + \overline{a^2 m^2}, \qquad
        \Theta' = \overline{a^2}\, \Theta,

    where the bar is the mean over channels. This holds for zero-mean Gaussian inputs; with means of
    zero for all. A nonlinearity may follow where the mean is the number 0 and the variance is one
    number: else the output is not a Gaussian with channels that are alike. There are no trainable
    scales and shifts.

    Without statistics, the finite network normalises over examples and positions. Then an output
    depends on the whole batch, no kernel of pairs of inputs exists, and `kernel_fn` raises.

    Args:
      mean: m, a number or one for each channel; None for that of the batch.
      variance: :math:`\sigma^2`, likewise.
      eps: added to the variance.
      batch_axis: which axis of the input runs over examples.
      channel_axis: which axis of the input runs over channels.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: `eps` or a variance is negative, one of `mean` and `variance` is missing, or they
        are neither numbers nor vectors; when called, the input does not fit.
      TypeError: `mean`, `variance` or `eps` is no real number, or an axis no integer.

    Source: Ioffe & Szegedy 2015, arXiv 1502.03167; that statistics of the batch couple its
    examples: Yang et al. 2019, arXiv 1902.08129.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(
      ...     stax.Dense(8, W_std=2.0), stax.BatchNorm(0.0, 4.0, eps=0.0), stax.Relu())
      >>> float(kernel_fn(jnp.ones((1, 3)), get="nngp")[0, 0])
      0.5
    """
    axes = (
        check_axis("BatchNorm", "batch_axis", batch_axis),
        check_axis("BatchNorm", "channel_axis", channel_axis),
    )
    added = check_number("BatchNorm", "eps", eps)
    if isinstance(added, float) and added < 0:
        raise ValueError(f"BatchNorm: eps={added}, expected a number of at least 0.")
    if (mean is None) != (variance is None):
        missing = "mean" if mean is None else "variance"
        raise ValueError(
            f"BatchNorm: {missing} is missing; give both mean and variance, or neither for those "
            "of the batch."
        )
    given = None if mean is None else (_statistic("mean", mean), _statistic("variance", variance))
    if given is not None:
        _check_statistics(*given, added)

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[()]]:
        input_shape = one_shape("BatchNorm", input_shape)
        axis_of("BatchNorm", "channel_axis", axes[1], input_shape)
        return input_shape, ()

    def apply_fn(params: tuple[()], inputs: Array, **kwargs: object) -> Array:
        inputs = one_array("BatchNorm", inputs)
        channel = axis_of("BatchNorm", "channel_axis", axes[1], inputs.shape)
        if given is None:
            others = tuple(axis for axis in range(inputs.ndim) if axis != channel)
            m = jnp.mean(inputs, others, keepdims=True)
            v = jnp.mean(jnp.square(inputs - m), others, keepdims=True)
        else:
            m, v = (_along(a, inputs, channel) for a in given)
        return (inputs - m) / jnp.sqrt(v + jnp.asarray(added, inputs.dtype))

    part: Part = Refusal(
        "statistics of the batch make an output depend on all examples, so that there is no kernel "
        f"of two inputs; give fixed ones (mean=, variance=), use LayerNorm, or {MONTE_CARLO}."
    )
    if given is not None:
        part = _standardize(*given, added)
    label = "" if given is None else "mean, variance"
    return make_layer("BatchNorm", label, (part,), init_fn, apply_fn, axes)


def _statistic(argument: str, value: Any) -> Any:
    """A number, or an array with one for each channel."""
    if np.ndim(value) == 0:
        return check_number("BatchNorm", argument, value)
    array = real_array(f"BatchNorm: {argument}", value)
    if array.ndim != 1:
        raise ValueError(
            f"BatchNorm: {argument} has shape {array.shape}, expected a number or a vector with "
            "one for each channel."
        )
    return array if is_traced(array) else np.asarray(array, float)


def _check_statistics(mean: Any, variance: Any, eps: Any) -> None:
    """Variances must not be negative, and vectors of one length."""
    lengths = {len(a) for a in (mean, variance) if np.ndim(a)}
    if len(lengths) > 1:
        raise ValueError(
            f"BatchNorm: mean and variance are of {len(mean)} and {len(variance)} channels; give "
            "one of each for every channel."
        )
    if is_traced(variance) or is_traced(eps):
        return
    if not (np.all(np.isfinite(variance)) and np.all(np.asarray(variance) >= 0)):
        raise ValueError("BatchNorm: a variance is negative or not finite; give positive numbers.")
    if not np.all(np.asarray(variance) + eps > 0):
        raise ValueError("BatchNorm: a variance is 0 and so is eps; give a positive eps.")


def _standardize(mean: Any, variance: Any, eps: Any) -> Standardize:
    """The kernel's affine map."""
    by_channel = max((len(a) for a in (mean, variance) if np.ndim(a)), default=0)
    known = not any(map(is_traced, (mean, variance)))
    if by_channel and known and np.ptp(np.atleast_1d(mean)) == np.ptp(np.atleast_1d(variance)) == 0:
        # The same for all channels.
        mean, variance = (float(np.atleast_1d(a)[0]) for a in (mean, variance))
        by_channel = 0
    inverse = 1 / (variance + eps)
    centred = not is_traced(mean) and not np.any(mean)
    shift = None if centred else _mean(inverse * mean * mean)
    return Standardize(_mean(inverse), shift, by_channel)


def _mean(value: Any) -> Any:
    """Over channels; a number where it is known, which takes the precision of the kernel."""
    if is_traced(value):
        return jnp.mean(value)
    return float(np.mean(value))


def _along(value: Any, inputs: Array, axis: int) -> Array:
    """A statistic along the channels of an input."""
    array = jnp.asarray(value).astype(inputs.dtype)
    shape = [1] * inputs.ndim
    if array.ndim:
        if len(array) != inputs.shape[axis]:
            raise ValueError(
                f"BatchNorm: has statistics of {len(array)} channels, but its input of shape "
                f"{inputs.shape} has {inputs.shape[axis]}; give one number for each channel."
            )
        shape[axis] = -1
    return array.reshape(shape)
