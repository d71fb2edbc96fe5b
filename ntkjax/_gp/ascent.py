r"""The mode of a posterior of functions, by Newton's method.

With :math:`f = K a`, K the covariance of the training points, the log posterior is

.. math::
    \Psi(a) = \log p(y | f) - \tfrac{1}{2} a^T f,

up to a constant (Rasmussen and Williams 2006, equation 3.12). It is concave for the likelihoods
here, so that each step of Newton's method is a direction uphill, of which the best share is taken:
far from the mode, a whole step may lead downhill.

All of it is computed in float64, whatever the kernel is in: where variances are large, the
curvatures of several classes add up to matrices that float32 cannot tell from singular ones.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._jax_compat import double_precision
from ntkjax._solve.symmetric import highest

#: Most steps, and the shares of a step that are tried.
_STEPS, _SHARES = 50, 0.5 ** np.arange(10)
#: How far coefficients may be from the slope of the log likelihood, whose entries are below 1.
_GAP = 1e-2


def in_float64(function: Callable[..., Any]) -> Callable[..., Any]:
    """The compiled function, in whose program JAX knows float64, whatever its configuration."""
    compiled = jax.jit(function)

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        with double_precision():
            return compiled(*args)

    return call


def climbed(
    newton: Callable[[Array], Array],
    log_likelihood: Callable[[Array], Array],
    kernel: Array,
    start: Array,
) -> tuple[Array, Array]:
    """Coefficients a and values f = K a at the mode, each `(k, n)`, for k functions.

    `newton(f)` returns the coefficients at the end of a whole step. Derivatives by the kernel are
    those of one more step from the mode, which does not depend on where it starts. Where rounding
    has kept the ascent from the mode, `at_mode` tells.
    """
    held = jax.lax.stop_gradient(kernel)
    shares = jnp.asarray(_SHARES, kernel.dtype)
    tolerance = 4 * float(jnp.finfo(kernel.dtype).eps) * kernel.shape[0]

    def height(a: Array, f: Array) -> Array:
        value = log_likelihood(f) - 0.5 * jnp.sum(a * f)
        return jnp.where(jnp.isnan(value), -jnp.inf, value)

    def step(state: Any) -> Any:
        i, a, f, value, _ = state
        da = newton_of(f) - a
        df = highest(da, held)
        heights = jax.vmap(lambda share: height(a + share * da, f + share * df))(shares)
        # Of those that are as good but for rounding, the largest share: the last step is whole.
        is_good = heights >= jnp.maximum(jnp.max(heights), value) - tolerance
        share = jnp.max(jnp.where(is_good, shares, 0))
        a, f = a + share * da, f + share * df
        reached = jnp.where(share > 0, height(a, f), value)
        return i + 1, a, f, reached, reached - value

    def newton_of(f: Array) -> Array:
        return jax.lax.stop_gradient(newton(f))

    def goes_on(state: Any) -> Array:
        return (state[0] < _STEPS) & (state[4] > tolerance)

    a = jax.lax.stop_gradient(start)
    f = highest(a, held)
    first = 0, a, f, height(a, f), jnp.full((), jnp.inf, kernel.dtype)
    _, a, f, _, _ = jax.lax.while_loop(goes_on, step, first)
    moved = newton(f)
    a = a + (moved - jax.lax.stop_gradient(moved))
    return a, highest(a, kernel)


def at_mode(evidence: Array, a: Array, slope: Array) -> Array:
    """The evidence; none where coefficients are not the slope, as they are at the mode."""
    return jnp.where(jnp.max(jnp.abs(a - slope)) < _GAP, evidence, -jnp.inf)
