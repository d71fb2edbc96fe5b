"""Dropout."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.operations.dropout import RandomMask
from ntkjax._layers.checks import Shape, check_choice, check_number, show
from ntkjax._layers.finite import one_array, one_shape
from ntkjax._layers.layer import Layer, make_layer


def Dropout(rate: float, mode: str = "train") -> Layer:
    r"""Keep every activation with probability r, divided by it; others become zero.

    .. math::
        f_i = \frac{m_i}{r}\, x_i, \quad m_i \sim \mathrm{Bernoulli}(r), \qquad
        K'[p, p] = \frac{1}{r} K[p, p], \qquad \Theta'[p, p] = \frac{1}{r} \Theta[p, p]

    for an example with itself, whose masks are the same; of two examples, or of two positions,
    masks are independent and both kernels stay as they are. Which entries are of an example with
    itself is known where `kernel_fn` is called with one batch, or with two of equal values; all
    examples of two other batches are different ones.

    Args:
      rate: r, the probability to *keep* an activation, above 0 and at most 1; a number or a traced
        scalar.
      mode: "train", or "test" for a layer that does nothing.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`. In train mode `apply_fn` takes a random key as `rng`.

    Raises:
      ValueError: `rate` or `mode` is out of its range; when called in train mode, `apply_fn` gets
        no `rng`, or `kernel_fn` is applied to the inputs themselves.
      TypeError: `rate` is no real number.

    Source: Srivastava et al. 2014 (dropout); Novak et al. 2020, arXiv 1912.02803, section 2, whose
    `rate` is the probability to keep, too.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Dropout(0.5))
      >>> kernel_fn(jnp.ones((2, 3)), get="nngp").tolist()
      [[2.0, 1.0], [1.0, 2.0]]
    """
    mode = check_choice("Dropout", "mode", mode, ("train", "test"))
    keep = check_number("Dropout", "rate", rate)
    if isinstance(keep, float) and not 0 < keep <= 1:
        raise ValueError(
            f"Dropout: rate={keep:g}, expected the probability to keep an activation, above 0 and "
            "at most 1."
        )
    is_random = mode == "train" and keep != 1.0 if isinstance(keep, float) else mode == "train"

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[()]]:
        return one_shape("Dropout", input_shape), ()

    def apply_fn(params: tuple[()], inputs: Array, **kwargs: Any) -> Array:
        inputs, key = one_array("Dropout", inputs), kwargs.get("rng")
        if not is_random:
            return inputs
        if key is None:
            raise ValueError(
                "Dropout: apply_fn needs a random key to draw which activations to keep; pass one, "
                "as in apply_fn(params, inputs, rng=jax.random.key(0)), or use mode='test'."
            )
        kept = jax.random.bernoulli(key, keep, inputs.shape)
        return jnp.where(kept, inputs / jnp.asarray(keep, inputs.dtype), 0)

    parts = (RandomMask(keep),) if is_random else ()
    return make_layer("Dropout", f"{show(keep)}, mode='{mode}'", parts, init_fn, apply_fn)
