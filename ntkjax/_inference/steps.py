r"""Gradient descent in whole steps on the mean squared error, in the eigenbasis of its kernel.

A step multiplies the error of a mode by :math:`1 - x` with :math:`x = \eta \lambda`, so that t
steps leave :math:`(1 - x)^t` of it. That is computed as :math:`\exp(t \log |1 - x|)`, where the
logarithm is `log1p(-x)` for x up to 1 and `log1p(x - 2)` beyond, both of which are exact to
rounding: 1e9 steps of x = 1e-9 leave exp(-1) of a mode, to 15 digits in float64.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ntkjax._inference.dynamics import is_unseen


class Steps(NamedTuple):
    """Gradient descent of a learning rate, divided by the size of the targets: a `Dynamics`.

    Times are numbers of steps, whole or infinite. In float32 those beyond 2^24 are even: a mode
    that by then still swings about its target is as near to divergence as rounding can tell.
    """

    rate: Array

    def decay(self, values: Array, time: Array) -> Array:
        """(1 - x)^t."""
        swings, exponent = self._logarithm(values, time)
        return jnp.where(swings & (jnp.mod(time, 2) == 1), -1.0, 1.0) * jnp.exp(exponent)

    def learned(self, values: Array, time: Array) -> Array:
        """1 - (1 - x)^t."""
        swings, exponent = self._logarithm(values, time)
        return jnp.where(swings, 1 - self.decay(values, time), -jnp.expm1(exponent))

    def response(self, values: Array, time: Array) -> Array:
        """The sum of rate (1 - x)^k over the steps k made."""
        still = values == 0
        safe = jnp.where(still, 1.0, values)
        made = jnp.where(still, self.rate * time, self.learned(safe, time) / safe)
        return jnp.where(is_unseen(values, time), 0.0, made)

    def _logarithm(self, values: Array, time: Array) -> tuple[Array, Array]:
        """Where 1 - x is negative, and t log |1 - x|."""
        x = self.rate * values
        swings = x > 1
        inner = jnp.where(swings, x - 2, -x)
        # No step leaves all; one with x = 1 leaves nothing; none moves a mode of eigenvalue 0.
        moves, ends = (inner != 0) & (time > 0), inner == -1
        log = jnp.where(ends, -jnp.inf, jnp.log1p(jnp.where(ends, 0.0, inner)))
        return swings, jnp.where(moves, jnp.where(time > 0, time, 1.0) * log, 0.0)
