"""Functions made of the exponential: Exp, Gaussian, ExpNormalized."""

import jax.numpy as jnp
from jax import Array

from ntkjax._activations.exponential import Exponential, NormalizedExponential
from ntkjax._activations.gaussian import Gaussian as GaussianDual
from ntkjax._layers.checks import check_flag, check_not_negative, check_number, show_all
from ntkjax._layers.elementwise import elementwise
from ntkjax._layers.layer import Layer


def Exp(a: float = 1, b: float = 1) -> Layer:
    r"""Exponential, a exp(b x).

    .. math::
        K' = a^2 \exp\left(b^2 \left(\frac{v_1 + v_2}{2} + K\right)\right),
        \qquad \Theta' = b^2 K' \Theta.

    The kernel of a point with itself is :math:`a^2 e^{2 b^2 v}`, so that it reaches the largest
    number of float32 at :math:`b^2 v = 44`. A point beyond that counts as less far away than it is
    in its kernels with smaller points; the kernel of two such points is infinite.

    Args:
      a: output scale.
      b: input scale.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: an argument is not finite; when `kernel_fn` is called, the input is not Gaussian.

    Source: the moment generating function of a Gaussian, :math:`E\, e^{u} = e^{v / 2}`; Daniely
    et al. 2016, arXiv 1602.05897, section 4.2.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Exp())
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 4)
      7.3891
    """
    numbers = [check_number("Exp", n, v) for n, v in zip("ab", (a, b), strict=True)]

    def fn(x: Array) -> Array:
        amplitude, rate = (jnp.asarray(v, x.dtype) for v in numbers)
        return amplitude * jnp.exp(rate * x)

    return elementwise("Exp", show_all(numbers, (1.0, 1.0)), Exponential(*numbers), fn)


def Gaussian(a: float = 1, b: float = -1) -> Layer:
    r"""Gaussian, a exp(b x^2).

    .. math::
        K' = \frac{a^2}{\sqrt M}, \qquad \Theta' = \frac{4 a^2 b^2 K}{M^{3/2}}\, \Theta,
        \qquad M = (1 - 2 b v_1)(1 - 2 b v_2) - 4 b^2 K^2.

    Computed from distances by an equivalent form in which no term cancels.

    Args:
      a: output scale.
      b: minus the inverse of the squared width of the bell; not positive, since for b > 0 there is
        no kernel of points of variance 1 / (4 b) or more.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: an argument is not finite, or `b` is positive; when `kernel_fn` is called, the
        input is not Gaussian.

    Source: Williams 1997, "Computing with infinite networks", section 3.2.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Gaussian())
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 4)
      0.4472
    """
    numbers = [check_number("Gaussian", n, v) for n, v in zip("ab", (a, b), strict=True)]
    amplitude, exponent = numbers
    if isinstance(exponent, float) and exponent > 0:
        raise ValueError(
            f"Gaussian: b={exponent:g}, expected a number that is not positive: exp(b x^2) has no "
            "second moment at a variance of 1 / (4 b) or more; use b=-1 for a bell."
        )

    def fn(x: Array) -> Array:
        size, power = (jnp.asarray(v, x.dtype) for v in numbers)
        return size * jnp.exp(power * jnp.square(x))

    dual = GaussianDual(amplitude, exponent)
    return elementwise("Gaussian", show_all(numbers, (1.0, -1.0)), dual, fn)


def ExpNormalized(gamma: float = 1, shift: float = -1, do_clip: bool = False) -> Layer:
    r"""The normalised Gaussian kernel, which is the exponential of the cosine of two points.

    .. math::
        K' = \sqrt{v_1 v_2}\; e^{\gamma (\rho + s)}, \qquad
        \Theta' = \gamma\, e^{\gamma (\rho + s)}\, \Theta, \qquad
        \rho = \frac{K}{\sqrt{v_1 v_2}},

    with s the shift. A point of no variance counts as orthogonal to all others.

    Args:
      gamma: factor of the exponent; not negative, since the kernel would not be one.
      shift: added to the cosine.
      do_clip: of no effect, for compatibility: the cosine never leaves [-1, 1].

    Returns:
      `(init_fn, apply_fn, kernel_fn)`. There is no finite network: `apply_fn` raises.

    Raises:
      ValueError: a number is not finite, or `gamma` is negative; when `kernel_fn` is called, the
        input is not Gaussian.
      NotImplementedError: `apply_fn` is called.

    Source: Shankar et al. 2020, arXiv 2003.02237, section 3.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.ExpNormalized())
      >>> float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0])
      1.0
    """
    numbers = [
        check_not_negative("ExpNormalized", "gamma", gamma),
        check_number("ExpNormalized", "shift", shift),
    ]
    check_flag("ExpNormalized", "do_clip", do_clip)

    def fn(x: Array) -> Array:
        raise NotImplementedError(
            "ExpNormalized: apply_fn was called, but no finite network has this kernel; use "
            "kernel_fn alone, or Exp."
        )

    dual = NormalizedExponential(*numbers)
    return elementwise("ExpNormalized", show_all(numbers, (1.0, -1.0)), dual, fn)
