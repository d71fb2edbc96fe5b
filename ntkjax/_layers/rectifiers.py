"""Piecewise linear functions with a kink at zero."""

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._activations.rectifier import Rectifier
from ntkjax._layers.checks import check_number, show
from ntkjax._layers.elementwise import elementwise
from ntkjax._layers.layer import Layer


def Relu(do_stabilize: bool = False, do_backprop: bool = False) -> Layer:
    r"""Rectified linear unit, max(x, 0).

    .. math::
        K' = \frac{r_1 r_2}{2 \pi} \left(\sin\theta + (\pi - \theta) \cos\theta\right), \qquad
        \Theta' = \frac{\pi - \theta}{2 \pi}\, \Theta,

    with r the standard deviations and :math:`\theta` the angle between the two points. It is made
    from distances, so that float32 keeps its digits for near-equal points, and its gradients are
    finite everywhere.

    Args:
      do_stabilize: of no effect, for compatibility: the kernel is always stable.
      do_backprop: of no effect, for compatibility: gradients are always safe.

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


def LeakyRelu(alpha: float, do_stabilize: bool = False, do_backprop: bool = False) -> Layer:
    r"""Leaky rectifier, alpha min(x, 0) + max(x, 0); see `ABRelu` for its kernel.

    .. math::
        K' = \alpha\, K + (1 - \alpha)^2\, K_\mathrm{relu}.

    Args:
      alpha: slope for negative inputs.
      do_stabilize: of no effect, for compatibility: the kernel is always stable.
      do_backprop: of no effect, for compatibility: gradients are always safe.

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


def Abs(do_stabilize: bool = False, do_backprop: bool = False) -> Layer:
    r"""Absolute value, \|x\|.

    .. math::
        K' = \frac{2 r_1 r_2}{\pi} \left(\sin\theta + (\pi/2 - \theta) \cos\theta\right).

    Args:
      do_stabilize: of no effect, for compatibility: the kernel is always stable.
      do_backprop: of no effect, for compatibility: gradients are always safe.

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


def ABRelu(a: float, b: float, do_stabilize: bool = False, do_backprop: bool = False) -> Layer:
    r"""Rectifier of two slopes, a min(x, 0) + b max(x, 0).

    .. math::
        K' = \frac{a^2 + b^2}{2} K
        + \frac{(b - a)^2}{2 \pi} r_1 r_2 (\sin\theta - \theta\cos\theta),
        \qquad
        \Theta' = \left(\frac{a^2 + b^2}{2} - \frac{(b - a)^2}{2 \pi} \theta\right) \Theta.

    Args:
      a: slope for negative inputs.
      b: slope for positive inputs.
      do_stabilize: of no effect, for compatibility: the kernel is always stable.
      do_backprop: of no effect, for compatibility: gradients are always safe.

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
