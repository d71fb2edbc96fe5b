"""Nonlinearities without a closed form: their duals are integrals, expanded in polynomials.

All of them are `ntkjax._activations.integrated` of one function. Errors are a few rounding errors
of sqrt(K11 K22), for variances and correlations of all sizes. Pairs are fast where standard
deviations are at most 8 (4 for Tanh in float64), and slow beyond.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._activations.integrated import Quadrature
from ntkjax._activations.scalar_function import ScalarFunction
from ntkjax._layers.checks import check_number, show
from ntkjax._layers.elementwise import elementwise
from ntkjax._layers.layer import Layer


def _integrated(
    name: str,
    arguments: str,
    fn: Callable[[Any], Any],
    degree: int,
    is_nonnegative: bool = False,
) -> Layer:
    """The layer of a function that grows as a power of this degree."""
    activation = Quadrature(ScalarFunction(fn), name, is_nonnegative, degree)
    return elementwise(name, arguments, activation, fn)


def _mish(x: Array) -> Array:
    return x * jnp.tanh(jax.nn.softplus(x))


def _hard_tanh(x: Array) -> Array:
    return jnp.clip(x, -1.0, 1.0)


@functools.lru_cache(maxsize=64)
def _elu(alpha: float) -> Callable[[Array], Array]:
    """One function for each number, so that programs are shared."""
    return lambda x: jnp.where(x > 0, x, alpha * jnp.expm1(jnp.minimum(x, 0.0)))


def Tanh() -> Layer:
    r"""Hyperbolic tangent, tanh(x).

    .. math::
        f(x) = \tanh(x) = \frac{e^x - e^{-x}}{e^x + e^{-x}}, \\
        K' = E f(u) f(v), \qquad \Theta' = \Theta\, E f'(u) f'(v),

    both integrals by an expansion or by quadrature: see `Elementwise`.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: when called, the input is not Gaussian.

    Source: the duals are integrals, Han et al. 2022, arXiv 2209.04121, section 3.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Tanh())
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 4)
      0.3943
    """
    return _integrated("Tanh", "", jnp.tanh, 0)


def Sigmoid() -> Layer:
    r"""Logistic sigmoid, 1 / (1 + exp(-x)).

    .. math::
        f(x) = \frac{1}{1 + e^{-x}}, \\
        K' = E f(u) f(v), \qquad \Theta' = \Theta\, E f'(u) f'(v),

    both integrals by an expansion or by quadrature: see `Elementwise`.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: when called, the input is not Gaussian.

    Source: the duals are integrals, Han et al. 2022, arXiv 2209.04121, section 3.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Sigmoid())
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 4)
      0.2934
    """
    return _integrated("Sigmoid", "", jax.nn.sigmoid, 0, True)


def Silu() -> Layer:
    r"""Sigmoid linear unit, x / (1 + exp(-x)).

    .. math::
        f(x) = \frac{x}{1 + e^{-x}}, \\
        K' = E f(u) f(v), \qquad \Theta' = \Theta\, E f'(u) f'(v),

    both integrals by an expansion or by quadrature: see `Elementwise`.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: when called, the input is not Gaussian.

    Source: Elfwing et al. 2017, arXiv 1702.03118.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Silu())
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 4)
      0.3558
    """
    return _integrated("Silu", "", jax.nn.silu, 1)


#: The same under its other name (Ramachandran et al. 2017, arXiv 1710.05941).
Swish = Silu


def Softplus() -> Layer:
    r"""Softplus, log(1 + exp(x)).

    .. math::
        f(x) = \log(1 + e^x), \\
        K' = E f(u) f(v), \qquad \Theta' = \Theta\, E f'(u) f'(v),

    both integrals by an expansion or by quadrature: see `Elementwise`.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: when called, the input is not Gaussian.

    Source: Dugas et al. 2001.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Softplus())
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 4)
      0.9212
    """
    return _integrated("Softplus", "", jax.nn.softplus, 1, True)


def Mish() -> Layer:
    r"""Mish, x tanh(log(1 + exp(x))).

    .. math::
        f(x) = x \tanh(\log(1 + e^x)), \\
        K' = E f(u) f(v), \qquad \Theta' = \Theta\, E f'(u) f'(v),

    both integrals by an expansion or by quadrature: see `Elementwise`.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: when called, the input is not Gaussian.

    Source: Misra 2019, arXiv 1908.08681.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Mish())
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 4)
      0.4523
    """
    return _integrated("Mish", "", _mish, 1)


def Selu() -> Layer:
    r"""Scaled exponential linear unit.

    .. math::
        f(x) = \lambda \left(\max(x, 0) + \alpha \min(e^x - 1, 0)\right), \quad
        \lambda = 1.0507, \; \alpha = 1.6733, \\
        K' = E f(u) f(v), \qquad \Theta' = \Theta\, E f'(u) f'(v),

    both integrals by an expansion or by quadrature: see `Elementwise`.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: when called, the input is not Gaussian.

    Source: Klambauer et al. 2017, arXiv 1706.02515.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Selu())
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 4)
      1.0
    """
    return _integrated("Selu", "", jax.nn.selu, 1)


def HardTanh() -> Layer:
    r"""Hard hyperbolic tangent, x between -1 and 1.

    .. math::
        f(x) = \min(\max(x, -1), 1), \\
        K' = E f(u) f(v), \qquad \Theta' = \Theta\, E f'(u) f'(v),

    both integrals by an expansion or by quadrature: see `Elementwise`.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: when called, the input is not Gaussian.

    Source: Collobert 2004.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.HardTanh())
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 4)
      0.5161
    """
    return _integrated("HardTanh", "", _hard_tanh, 0)


def Elu(alpha: float = 1.0) -> Layer:
    r"""Exponential linear unit.

    .. math::
        f(x) = \max(x, 0) + \alpha \min(e^x - 1, 0), \\
        K' = E f(u) f(v), \qquad \Theta' = \Theta\, E f'(u) f'(v),

    both integrals by an expansion or by quadrature: see `Elementwise`.

    Args:
      alpha: f(x) goes to -alpha for x to minus infinity; a number that is known, not traced.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: `alpha` is not finite; when called, the input is not Gaussian.

    Source: Clevert et al. 2015, arXiv 1511.07289.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Elu())
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 4)
      0.6449
    """
    number = check_number("Elu", "alpha", alpha)
    if not isinstance(number, float):
        raise TypeError(
            "Elu: alpha is traced, but the integrals are prepared for its value; make the layer "
            "outside of jax.jit and jax.grad."
        )
    return _integrated("Elu", "" if number == 1 else show(number), _elu(number), 1)
