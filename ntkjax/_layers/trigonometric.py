"""Functions made of sines: Sin, Cos, Rbf, Gabor."""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from ntkjax._activations.gabor import Gabor as GaborDual
from ntkjax._activations.sinusoid import Sinusoid
from ntkjax._layers.checks import check_not_negative, check_number, show_all
from ntkjax._layers.elementwise import elementwise
from ntkjax._layers.layer import Layer

Scalar = float | Array


def Sin(a: float = 1.0, b: float = 1.0, c: float = 0.0) -> Layer:
    r"""Sine, a sin(b x + c).

    .. math::
        K' &= \tfrac12 a^2 \left(e^{-b^2 D / 2} - \cos(2 c)\, e^{-b^2 S / 2}\right), \\
        \Theta' &= \tfrac12 a^2 b^2 \left(e^{-b^2 D / 2} + \cos(2 c)\, e^{-b^2 S / 2}\right) \Theta,

    with :math:`D = v_1 + v_2 - 2 K` and :math:`S = v_1 + v_2 + 2 K`.

    Args:
      a: output scale.
      b: input scale.
      c: phase.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: an argument is not finite; when `kernel_fn` is called, the input is not Gaussian.

    Source: Rahimi & Recht 2007, "Random features for large-scale kernel machines", claim 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Sin())
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 4)
      0.4323
    """
    numbers = [check_number("Sin", n, v) for n, v in zip("abc", (a, b, c), strict=True)]
    even, odd = _sine(numbers[2]), _cosine(numbers[2])
    return _sinusoid("Sin", jnp.sin, *numbers, even=even, odd=odd)


def Cos(a: float = 1.0, b: float = 1.0, c: float = 0.0) -> Layer:
    r"""Cosine, a cos(b x + c).

    .. math::
        K' &= \tfrac12 a^2 \left(e^{-b^2 D / 2} + \cos(2 c)\, e^{-b^2 S / 2}\right), \\
        \Theta' &= \tfrac12 a^2 b^2 \left(e^{-b^2 D / 2} - \cos(2 c)\, e^{-b^2 S / 2}\right) \Theta,

    with :math:`D = v_1 + v_2 - 2 K` and :math:`S = v_1 + v_2 + 2 K`.

    Args:
      a: output scale.
      b: input scale.
      c: phase.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: an argument is not finite; when `kernel_fn` is called, the input is not Gaussian.

    Source: Rahimi & Recht 2007, "Random features for large-scale kernel machines", claim 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Cos())
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 4)
      0.5677
    """
    numbers = [check_number("Cos", n, v) for n, v in zip("abc", (a, b, c), strict=True)]
    even, odd = _cosine(numbers[2]), _sine(numbers[2])
    return _sinusoid("Cos", jnp.cos, *numbers, even=even, odd=odd)


def _sine(phase: Scalar) -> Scalar:
    return math.sin(phase) if isinstance(phase, float) else jnp.sin(phase)


def _cosine(phase: Scalar) -> Scalar:
    return math.cos(phase) if isinstance(phase, float) else jnp.cos(phase)


def _sinusoid(
    name: str,
    function: Callable[[Array], Array],
    a: Scalar,
    b: Scalar,
    c: Scalar,
    *,
    even: Scalar,
    odd: Scalar,
) -> Layer:
    """A times a function whose even part is `even` cos(b x) and odd part +-`odd` sin(b x)."""

    def fn(x: Array) -> Array:
        amplitude, slope, phase = (jnp.asarray(v, x.dtype) for v in (a, b, c))
        return amplitude * function(slope * x + phase)

    is_nonnegative = isinstance(even, float) and isinstance(odd, float) and abs(even) >= abs(odd)
    dual = Sinusoid((a * odd) ** 2, (a * even) ** 2, b**2, is_nonnegative)
    return elementwise(name, show_all([a, b, c], (1.0, 1.0, 0.0)), dual, fn)


def Rbf(gamma: float = 1.0) -> Layer:
    r"""The layer whose kernel is the squared exponential: sqrt(2) sin(sqrt(2 gamma) x + pi / 4).

    .. math::
        K' = e^{-\gamma D}, \qquad \Theta' = 2 \gamma\, e^{-\gamma D}\, \Theta,

    with :math:`D = v_1 + v_2 - 2 K`, the mean squared difference of both inputs.

    Args:
      gamma: 1 / (2 l^2) for a kernel of length scale l; not negative.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: `gamma` is negative or not finite; when `kernel_fn` is called, the input is not
        Gaussian.

    Source: Rahimi & Recht 2007, "Random features for large-scale kernel machines", claim 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Rbf(0.5))
      >>> round(float(kernel_fn(jnp.ones((1, 4)), -jnp.ones((1, 4)), "nngp")[0, 0]), 4)
      0.1353
    """
    number = check_not_negative("Rbf", "gamma", gamma)

    def fn(x: Array) -> Array:
        slope = jnp.sqrt(2 * jnp.asarray(number, x.dtype))
        return math.sqrt(2) * jnp.sin(slope * x + math.pi / 4)

    dual = Sinusoid(1.0, 1.0, 2 * number, is_nonnegative=True)
    return elementwise("Rbf", show_all([number], (1.0,)), dual, fn)


def Gabor() -> Layer:
    r"""Gabor function, exp(-x^2) sin(x).

    .. math::
        K' &= \frac{e^{-A}}{2 \sqrt M} \left(1 - e^{-2 K / M}\right), \\
        \Theta' &= \frac{e^{-A}}{2 \sqrt M}
        \left(p + q + (p - q)\, e^{-2 K / M}\right) \Theta,

    with :math:`M = (1 + 2 v_1)(1 + 2 v_2) - 4 K^2`,
    :math:`A = (v_1 + v_2 - 2 K + 4 v_1 v_2 - 4 K^2) / (2 M)`, :math:`p = 1 / M + 8 K^2 / M^2` and
    :math:`q = 4 K (M + 1 + v_1 + v_2) / M^2`. Computed from distances by an equivalent form in
    which no term cancels.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: when `kernel_fn` is called, the input is not Gaussian.

    Source: Rahimi & Recht 2007, claim 1, of the Gaussian pair that the factors exp(-x^2) make of
    the given one.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Gabor())
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 4)
      0.0737
    """

    def fn(x: Array) -> Array:
        return jnp.exp(-jnp.square(x)) * jnp.sin(x)

    return elementwise("Gabor", "", GaborDual(), fn)
