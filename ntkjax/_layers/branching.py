"""Branching: Identity, FanOut, FanInSum."""

import functools
import operator
from typing import Any

from jax import Array

from ntkjax._kernel.graph import Copies, Join
from ntkjax._kernel.operations.combine import Sum
from ntkjax._layers.layer import Layer, check_count, make_layer


def Identity() -> Layer:
    r"""Pass the input on; the skip connection of residual networks.

    .. math::
        f(x) = x, \qquad K' = K.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      Nothing.

    Source: He et al. 2016, arXiv 1603.05027 (identity mappings).

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.Identity()
      >>> float(kernel_fn(2 * jnp.ones((1, 3)), get="nngp")[0, 0])
      4.0
    """

    def init_fn(rng: Array, input_shape: Any) -> tuple[Any, tuple[()]]:
        return input_shape, ()

    def apply_fn(params: tuple[()], inputs: Any, **kwargs: Any) -> Any:
        return inputs

    return make_layer("Identity", "", (), init_fn, apply_fn)


def FanOut(num: int) -> Layer:
    r"""Copy the input for several branches.

    .. math::
        x \mapsto (x, \dots, x).

    Args:
      num: how many branches; at least 1.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`, which return lists of `num`.

    Raises:
      ValueError: `num` is no positive integer.

    Source: Novak et al. 2020, arXiv 1912.02803, section 2.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.FanOut(2)
      >>> len(kernel_fn(jnp.ones((1, 3)), get="nngp"))
      2
    """
    count = check_count("FanOut", "num", num)

    def init_fn(rng: Array, input_shape: Any) -> tuple[list[Any], tuple[()]]:
        return [input_shape] * count, ()

    def apply_fn(params: tuple[()], inputs: Any, **kwargs: Any) -> list[Any]:
        return [inputs] * count

    return make_layer("FanOut", f"{count}", (Copies(count),), init_fn, apply_fn)


def FanInSum() -> Layer:
    r"""Sum the branches.

    .. math::
        f = \sum_b f_b, \qquad K' = \sum_b K_b, \qquad \Theta' = \sum_b \Theta_b,

    which holds for zero-mean Gaussian branches that share no weights: each must end in a Dense or
    Conv of its own, but for one that passes its Gaussian input on.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`, which take lists.

    Raises:
      ValueError: when called, a branch is not Gaussian, two branches depend on the same weights, or
        their shapes differ.

    Source: Novak et al. 2020, arXiv 1912.02803, section 2.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> block = stax.serial(
      ...     stax.FanOut(2),
      ...     stax.parallel(stax.serial(stax.Relu(), stax.Dense(8)), stax.Identity()),
      ...     stax.FanInSum())
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), block)
      >>> float(kernel_fn(jnp.ones((1, 3)), get="nngp")[0, 0])
      1.5
    """

    def init_fn(rng: Array, input_shape: Any) -> tuple[Any, tuple[()]]:
        shapes = [tuple(shape) for shape in input_shape]
        if len(set(shapes)) > 1:
            raise ValueError(f"FanInSum: its branches have shapes {shapes}; make them equal.")
        return shapes[0], ()

    def apply_fn(params: tuple[()], inputs: Any, **kwargs: Any) -> Any:
        return functools.reduce(operator.add, inputs)

    return make_layer("FanInSum", "", (Join(Sum()),), init_fn, apply_fn)
