"""Nonlinearities: each is a scalar function and its dual activation."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._activations.error_function import ErrorFunction
from ntkjax._activations.gelu import GaussianErrorLinear
from ntkjax._activations.rectifier import Rectifier
from ntkjax._kernel.operations.pointwise import Activation, Dual
from ntkjax._layers.checks import Shape, check_flag, check_number, show
from ntkjax._layers.finite import one_array, one_shape
from ntkjax._layers.layer import Layer, make_layer


def elementwise(
    name: str, arguments: str, activation: Activation, fn: Callable[[Array], Array]
) -> Layer:
    """A layer which applies `fn` to every activation."""

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[()]]:
        return one_shape(name, input_shape), ()

    def apply_fn(params: tuple[()], inputs: Array, **kwargs: Any) -> Array:
        return fn(one_array(name, inputs))

    return make_layer(name, arguments, (Dual(activation),), init_fn, apply_fn)


def Relu(do_backprop: bool = False, do_stabilize: bool = False) -> Layer:
    r"""Rectified linear unit, max(x, 0).

    .. math::
        K' = \frac{r_1 r_2}{2 \pi} \left(\sin\theta + (\pi - \theta) \cos\theta\right), \qquad
        \Theta' = \frac{\pi - \theta}{2 \pi}\, \Theta,

    with r the standard deviations and :math:`\theta` the angle between the two points. It is made
    from distances, so that float32 keeps its digits for near-equal points, and its gradients are
    finite everywhere.

    Args:
      do_backprop: of no effect, for compatibility: gradients are always safe.
      do_stabilize: of no effect, for compatibility: the kernel is always stable.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: when called, the input is not Gaussian.

    Source: Cho & Saul 2009, eq. 6-8; Arora et al. 2019, arXiv 1904.11955, appendix C.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Relu())
      >>> float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0])
      0.5
    """
    return elementwise("Relu", "", Rectifier(0.0, 1.0, is_nonnegative=True), jax.nn.relu)


def LeakyRelu(alpha: float, do_backprop: bool = False, do_stabilize: bool = False) -> Layer:
    r"""Leaky rectifier, alpha min(x, 0) + max(x, 0); see `ABRelu` for its kernel.

    .. math::
        K' = \alpha\, K + (1 - \alpha)^2\, K_\mathrm{relu}.

    Args:
      alpha: slope for negative inputs.
      do_backprop: of no effect, for compatibility: gradients are always safe.
      do_stabilize: of no effect, for compatibility: the kernel is always stable.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: `alpha` is not finite; when called, the input is not Gaussian.

    Source: Tsuchida et al. 2018, arXiv 1711.09090, section 3.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.LeakyRelu(0.5))
      >>> float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0])
      0.625
    """
    slope = check_number("LeakyRelu", "alpha", alpha)
    return _rectifier("LeakyRelu", show(slope), slope, 1.0)


def Abs(do_backprop: bool = False, do_stabilize: bool = False) -> Layer:
    r"""Absolute value, \|x\|.

    .. math::
        K' = \frac{2 r_1 r_2}{\pi} \left(\sin\theta + (\pi/2 - \theta) \cos\theta\right).

    Args:
      do_backprop: of no effect, for compatibility: gradients are always safe.
      do_stabilize: of no effect, for compatibility: the kernel is always stable.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: when called, the input is not Gaussian.

    Source: Cho & Saul 2009, eq. 6, by :math:`|x| = \max(x, 0) + \max(-x, 0)`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.Abs())
      >>> float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0])
      1.0
    """
    return _rectifier("Abs", "", -1.0, 1.0)


def ABRelu(a: float, b: float, do_backprop: bool = False, do_stabilize: bool = False) -> Layer:
    r"""Rectifier of two slopes, a min(x, 0) + b max(x, 0).

    .. math::
        K' = \frac{a^2 + b^2}{2} K
        + \frac{(b - a)^2}{2 \pi} r_1 r_2 (\sin\theta - \theta\cos\theta),
        \qquad
        \Theta' = \left(\frac{a^2 + b^2}{2} - \frac{(b - a)^2}{2 \pi} \theta\right) \Theta.

    Args:
      a: slope for negative inputs.
      b: slope for positive inputs.
      do_backprop: of no effect, for compatibility: gradients are always safe.
      do_stabilize: of no effect, for compatibility: the kernel is always stable.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: a slope is not finite; when called, the input is not Gaussian.

    Source: Cho & Saul 2009, eq. 6-8; Tsuchida et al. 2018, arXiv 1711.09090.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.ABRelu(-1.0, 3.0))
      >>> float(kernel_fn(jnp.ones((1, 4)), get="nngp")[0, 0])
      5.0
    """
    slopes = check_number("ABRelu", "a", a), check_number("ABRelu", "b", b)
    return _rectifier("ABRelu", ", ".join(map(show, slopes)), *slopes)


def _rectifier(name: str, arguments: str, a: float | Array, b: float | Array) -> Layer:
    def fn(x: Array) -> Array:
        negative, positive = jnp.asarray(a, x.dtype), jnp.asarray(b, x.dtype)
        return negative * jnp.minimum(x, 0) + positive * jnp.maximum(x, 0)

    is_nonnegative = isinstance(a, float) and isinstance(b, float) and a <= 0 <= b
    return elementwise(name, arguments, Rectifier(a, b, is_nonnegative), fn)


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

    shown = [show(number) for number in numbers]
    arguments = "" if shown == ["1", "1", "0"] else ", ".join(shown)
    return elementwise("Erf", arguments, ErrorFunction(*numbers), fn)


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
