"""Branching: Identity, FanOut, FanInSum."""

import functools
import operator
from typing import Any

from jax import Array

from ntkjax._kernel.algebra.graph import Copies, Join
from ntkjax._kernel.arrays import describe
from ntkjax._kernel.operations.combine import Sum
from ntkjax._layers.checks import Shape, check_count
from ntkjax._layers.finite import in_one_dtype, one_array, one_shape
from ntkjax._layers.layer import Layer, make_layer


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
        shapes = _branches("input_shape", input_shape)
        return _equal_shapes([one_shape("FanInSum", shape) for shape in shapes]), ()

    def apply_fn(params: tuple[()], inputs: Any, **kwargs: Any) -> Any:
        arrays = [one_array("FanInSum", x) for x in _branches("inputs", inputs)]
        _equal_shapes([array.shape for array in arrays])
        return functools.reduce(operator.add, in_one_dtype(arrays))

    return make_layer("FanInSum", "", (Join(Sum()),), init_fn, apply_fn)


def _branches(argument: str, value: Any) -> list[Any]:
    """A list with an entry for each branch: summing a bare array would sum over its batch."""
    if isinstance(value, (list, tuple)) and value and not isinstance(value[0], int):
        return list(value)
    came = (
        f"an array of shape {getattr(value, 'shape', None)}"
        if hasattr(value, "shape")
        else describe(value)
    )
    raise ValueError(
        f"FanInSum: {argument} is {came}, expected a list with an entry for each branch; put "
        "FanOut and parallel before it."
    )


def _equal_shapes(shapes: list[Shape]) -> Shape:
    """The one shape of all branches; a sum must not broadcast."""
    if len(set(shapes)) > 1:
        raise ValueError(
            f"FanInSum: its branches have shapes {shapes}, but only equal shapes can be added; "
            "give the branches the same channels, strides and padding."
        )
    return shapes[0]
