"""Polynomials, powers and rectified powers, and the sign function."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._activations.polynomial import HermiteKernel
from ntkjax._activations.polynomial import Polynomial as PolynomialDual
from ntkjax._activations.rectified_power import RectifiedPower, SignFunction
from ntkjax._layers.checks import check_degree, check_static_numbers, show
from ntkjax._layers.elementwise import elementwise
from ntkjax._layers.layer import Layer

#: The kernel of a point of variance 1 with itself, 1 * 3 * ... * (2 degree - 1), is then far below
#: the largest number of float32.
_LARGEST_DEGREE = 20


def Monomial(degree: int) -> Layer:
    r"""Power, x^degree.

    .. math::
        K' = \sum_l l!\, A_l^2\, (v_1 v_2)^{(n - l) / 2} K^l, \qquad
        A_l = \frac{n!}{2^i\, i!\, l!}, \quad i = \frac{n - l}{2},

    over all l <= n of the parity of the degree n; :math:`\Theta' = \Theta\, dK' / dK`.

    Args:
      degree: n, from 0 to 20.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      TypeError: `degree` is not known before tracing.
      ValueError: `degree` is no integer from 0 to 20; when `kernel_fn` is called, the input is not
        Gaussian.

    Source: Han et al. 2022, arXiv 2209.04121, section 3.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Monomial(2))
      >>> float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0])
      3.0
    """
    degree = check_degree("Monomial", "degree", degree, _LARGEST_DEGREE)
    dual = PolynomialDual.of([0.0] * degree + [1.0])
    return elementwise("Monomial", f"{degree}", dual, lambda x: x**degree)


def RectifiedMonomial(degree: int) -> Layer:
    r"""Rectified power, x^degree where x >= 0, and 0 below.

    .. math::
        K' = \frac{(r_1 r_2)^n}{2 \pi} J_n(\theta), \qquad
        \Theta' = n^2\, \frac{(r_1 r_2)^{n - 1}}{2 \pi} J_{n - 1}(\theta)\, \Theta,

    with r the standard deviations, :math:`\theta` the angle between the two points,
    :math:`J_0 = \pi - \theta`, :math:`J_1 = \sin\theta + (\pi - \theta) \cos\theta` and
    :math:`dJ_n / d\cos\theta = n^2 J_{n - 1}`. It is made from distances, and its gradients are
    finite everywhere. The step function (degree 0) has a tangent kernel of zero, as its finite
    networks have; of degree 1 it is `Relu`.

    Args:
      degree: n, from 0 to 20.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      TypeError: `degree` is not known before tracing.
      ValueError: `degree` is no integer from 0 to 20; when `kernel_fn` is called, the input is not
        Gaussian.

    Source: Cho & Saul 2009, "Kernel methods for deep learning", eq. 4-9.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.RectifiedMonomial(2))
      >>> float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0])
      1.5
    """
    degree = check_degree("RectifiedMonomial", "degree", degree, _LARGEST_DEGREE)

    def fn(x: Array) -> Array:
        return jnp.where(x >= 0, x**degree, 0.0)

    return elementwise("RectifiedMonomial", f"{degree}", RectifiedPower(degree), fn)


def Sign() -> Layer:
    r"""Sign function: 1 for x > 0, -1 for x < 0, and 0 for x = 0.

    .. math::
        K' = 1 - \frac{2 \theta}{\pi}, \qquad \Theta' = 0,

    with :math:`\theta` the angle between the two points, a right one where a point is zero. The
    tangent kernel is that of its finite networks, whose derivative is zero almost everywhere.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: when `kernel_fn` is called, the input is not Gaussian.

    Source: Cho & Saul 2009, "Kernel methods for deep learning", eq. 7, by sign(x) = 2 [x > 0] - 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Sign())
      >>> float(kernel_fn(jnp.array([[1.0, 0.0]]), jnp.array([[-2.0, 0.0]]), "nngp")[0, 0])
      -1.0
    """
    return elementwise("Sign", "", SignFunction(), jnp.sign)


def Polynomial(coef: Sequence[float]) -> Layer:
    r"""Polynomial, coef[0] + coef[1] x + ... + coef[n] x^n.

    .. math::
        K' &= \sum_l l!\, A_l(v_1)\, A_l(v_2)\, K^l, \qquad
        \Theta' = \Theta \sum_l l!\, l\, A_l(v_1)\, A_l(v_2)\, K^{l - 1}, \\
        A_l(v) &= \sum_i c_{l + 2 i} \frac{(l + 2 i)!}{2^i\, i!\, l!}\, v^i.

    Computed from distances by an equivalent form, so that near points keep their digits.

    Args:
      coef: the coefficients c, of up to the power 20.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      TypeError: `coef` is not known before tracing.
      ValueError: `coef` is no sequence of up to 21 finite numbers; when `kernel_fn` is called, the
        input is not Gaussian.

    Source: Han et al. 2022, arXiv 2209.04121, section 3, by Mehler's formula.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Polynomial([1.0, 0.0, 1.0]))
      >>> float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0])
      6.0
    """
    numbers = check_static_numbers("Polynomial", "coef", coef, _LARGEST_DEGREE + 1)

    def fn(x: Array) -> Array:
        total = jnp.zeros_like(x)
        for number in reversed(numbers):
            total = total * x + number
        return total

    arguments = "[" + ", ".join(map(show, numbers)) + "]"
    return elementwise("Polynomial", arguments, PolynomialDual.of(numbers), fn)


def Hermite(degree: int) -> Layer:
    r"""Hermite polynomial He_n of the probabilists, divided by the root of n!.

    .. math::
        K' = K^n, \qquad \Theta' = n K^{n - 1}\, \Theta.

    This is the kernel of the polynomial for points of variance 1, as the layer assumes all to be:
    put a LayerNorm, or inputs of unit norm and a Dense, before it. Of other points, K' is the same
    power of K, but not the kernel of the finite network.

    Args:
      degree: n, from 0 to 20.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      TypeError: `degree` is not known before tracing.
      ValueError: `degree` is no integer from 0 to 20; when `kernel_fn` is called, the input is not
        Gaussian.

    Source: Daniely et al. 2016, arXiv 1602.05897, section 4.2.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Hermite(3))
      >>> round(float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0]), 6)
      1.0
    """
    degree = check_degree("Hermite", "degree", degree, _LARGEST_DEGREE)
    dual = HermiteKernel.of_degree(degree)
    ((_, norm),) = dual.coefficients
    powers = np.polynomial.hermite_e.herme2poly([0.0] * degree + [norm]).tolist()

    def fn(x: Array) -> Array:
        total = jnp.zeros_like(x)
        for number in reversed(powers):
            total = total * x + number
        return total

    return elementwise("Hermite", f"{degree}", dual, fn)
