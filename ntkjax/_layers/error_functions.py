"""Functions made of the error function."""

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._activations.error_function import ErrorFunction
from ntkjax._activations.gelu import GaussianErrorLinear
from ntkjax._layers.checks import check_flag, check_number, show_all
from ntkjax._layers.elementwise import elementwise
from ntkjax._layers.layer import Layer


def Erf(a: float = 1.0, b: float = 1.0, c: float = 0.0, do_backprop: bool = False) -> Layer:
    r"""Error function, a erf(b x) + c.

    .. math::
        K' = \frac{2 a^2}{\pi} \arcsin\frac{2 b^2 K}{\sqrt{(1 + 2 b^2 v_1)(1 + 2 b^2 v_2)}} + c^2,
        \qquad
        \Theta' = \frac{4 a^2 b^2}{\pi}
        \frac{\Theta}{\sqrt{(1 + 2 b^2 v_1)(1 + 2 b^2 v_2) - 4 b^4 K^2}}.

    Computed from distances by an equivalent form in which no term cancels.

    Args:
      a: output scale.
      b: input scale.
      c: output offset.
      do_backprop: of no effect, for compatibility: gradients are always safe.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: an argument is not finite; when called, the input is not Gaussian.

    Source: Williams 1997, "Computing with infinite networks", eq. 11.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Erf())
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 4)
      0.4646
    """
    numbers = [check_number("Erf", n, v) for n, v in zip("abc", (a, b, c), strict=True)]

    def fn(x: Array) -> Array:
        amplitude, slope, offset = (jnp.asarray(v, x.dtype) for v in numbers)
        return amplitude * jax.scipy.special.erf(slope * x) + offset

    return elementwise("Erf", show_all(numbers, (1.0, 1.0, 0.0)), ErrorFunction(*numbers), fn)


def Sigmoid_like() -> Layer:
    r"""The scaled error function that is nearest to the sigmoid, (1 + erf(x / 2.402...)) / 2.

    .. math::
        f(x) = \frac{1}{2} \left(1 + \mathrm{erf}\frac{x}{2.4020563531719796}\right),

    whose kernel is that of `Erf`. Its largest distance from 1 / (1 + exp(-x)) is 0.018.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: when `kernel_fn` is called, the input is not Gaussian.

    Source: Williams 1997, "Computing with infinite networks", eq. 11. The constant, as in
    neural-tangents, is that of the least squared distance from the sigmoid on [-5, 5].

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Sigmoid_like())
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 4)
      0.2914
    """
    slope = 1 / 2.4020563531719796

    def fn(x: Array) -> Array:
        return 0.5 * jax.scipy.special.erf(slope * x) + 0.5

    return elementwise("Sigmoid_like", "", ErrorFunction(0.5, slope, 0.5), fn)


def Gelu(approximate: bool = False, do_backprop: bool = False) -> Layer:
    r"""Gaussian error linear unit, x Phi(x), with Phi the normal distribution function.

    .. math::
        K' &= \frac{K}{4} + \frac{1}{2 \pi} \left(K \gamma
        + \frac{K^2 + v_1 v_2 \Delta^2}{(1 + v_1)(1 + v_2) \Delta}\right), \\
        \Theta' &= \left(\frac{1}{4} + \frac{1}{2 \pi} \left(\gamma + \frac{K}{\Delta}
        \left(\frac{1}{\Delta^2} + \frac{1}{1 + v_1} + \frac{1}{1 + v_2}\right)\right)\right)
        \Theta,

    with :math:`\Delta^2 = (1 + v_1)(1 + v_2) - K^2` and :math:`\tan\gamma = K / \Delta`.
    Computed from distances by an equivalent form in which no term cancels.

    Args:
      approximate: whether `apply_fn` replaces Phi by its approximation through tanh (see
        `jax.nn.gelu`); of no effect on the kernel, which is that of the exact function.
      do_backprop: of no effect, for compatibility: gradients are always safe.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: when called, the input is not Gaussian.

    Source: Tsuchida et al. 2021, arXiv 2002.08517, section 3.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Gelu())
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 4)
      0.4252
    """
    approximate = check_flag("Gelu", "approximate", approximate)

    def fn(x: Array) -> Array:
        return jax.nn.gelu(x, approximate=approximate)

    return elementwise("Gelu", "approximate=True" if approximate else "", GaussianErrorLinear(), fn)
