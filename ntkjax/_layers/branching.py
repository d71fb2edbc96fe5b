"""Branching: Identity, FanOut, FanInSum, FanInProd."""

import functools
import operator
from typing import Any

from jax import Array

from ntkjax._kernel.algebra.graph import Copies, Join
from ntkjax._kernel.operations.combine import Sum
from ntkjax._kernel.operations.product import Product
from ntkjax._layers.checks import Shape, check_count
from ntkjax._layers.finite import branch_arrays, branch_shapes
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
    return _fan_in("FanInSum", Sum(), operator.add, "added")


def FanInProd() -> Layer:
    r"""Multiply the branches, channel by channel.

    .. math::
        f = \prod_b f_b, \qquad K' = \prod_b K_b, \qquad
        \Theta' = \sum_b \Theta_b \prod_{c \ne b} K_c,

    which holds for branches that share no weights. They need not be Gaussian: each may end in a
    nonlinearity. The product is not Gaussian, so a Dense or Conv comes between it and the next
    nonlinearity.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`, which take lists.

    Raises:
      ValueError: when called, two branches depend on the same weights, the channels of two branches
        are not identically distributed (two inputs, say), or shapes differ.

    Source: Novak et al. 2020, arXiv 1912.02803, section 2; independent factors have
    :math:`E\, a b a' b' = E\, a a'\, E\, b b'`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> gate = stax.serial(
      ...     stax.FanOut(2),
      ...     stax.parallel(stax.serial(stax.Dense(8), stax.Relu()), stax.Dense(8, W_std=2.0)),
      ...     stax.FanInProd())
      >>> _, _, kernel_fn = gate
      >>> float(kernel_fn(jnp.ones((1, 3)), get="nngp")[0, 0])
      2.0
    """
    return _fan_in("FanInProd", Product(), operator.mul, "multiplied")


def _fan_in(name: str, operation: Any, fn: Any, what: str) -> Layer:
    """A layer that makes one array of branches of one shape, two at a time."""

    def init_fn(rng: Array, input_shape: Any) -> tuple[Any, tuple[()]]:
        return _equal_shapes(name, branch_shapes(name, input_shape), what), ()

    def apply_fn(params: tuple[()], inputs: Any, **kwargs: Any) -> Any:
        arrays = branch_arrays(name, inputs)
        _equal_shapes(name, [array.shape for array in arrays], what)
        return functools.reduce(fn, arrays)

    return make_layer(name, "", (Join(operation),), init_fn, apply_fn)


def _equal_shapes(name: str, shapes: list[Shape], what: str) -> Shape:
    """The one shape of all branches, which must not broadcast."""
    if len(set(shapes)) > 1:
        raise ValueError(
            f"{name}: its branches have shapes {shapes}, but only equal shapes can be {what}; "
            "give the branches the same channels, strides and padding."
        )
    return shapes[0]
