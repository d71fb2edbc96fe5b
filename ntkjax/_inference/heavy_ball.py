r"""Gradient descent with momentum, in whole steps, in the eigenbasis of its kernel.

The heavy-ball method keeps a velocity, :math:`v \leftarrow \mu v + g` and
:math:`f \leftarrow f - \eta v`, starting at rest. With :math:`x = \eta \lambda` the share d of the
error that is left in a mode obeys :math:`d_{t+1} = P d_t - \mu d_{t-1}`, :math:`P = 1 + \mu - x`,
whose roots are those of :math:`z^2 - P z + \mu`. With :math:`U_t = (z_1^t - z_2^t) / (z_1 - z_2)`,

.. math::
    d_t = U_{t+1} - \mu U_t, \qquad 1 - d_t = x S_t, \qquad S_t = \sum_{s=1}^t U_s .

The discriminant is :math:`P^2 - 4 \mu = (a - x)(b - x)` with :math:`a, b = (1 \mp \sqrt\mu)^2`. So
a mode creeps below x = a, oscillates up to b, and jumps from side to side beyond. Replacing x by
:math:`2 (1 + \mu) - x` changes the signs of both roots and nothing else, so both ends take the same
formulas: here x is the smaller of the two, and modes whose x was replaced are *mirrored*. No
difference of nearly equal numbers is left in them but for the sums below.

- Real roots: :math:`z_1 = 1 - \delta`, :math:`\delta = 2 x / (1 - \mu + x + \sqrt{P^2 - 4 \mu})`,
  :math:`z_2 = \mu / z_1`. With :math:`q = z_2 / z_1` and :math:`E_t = (1 - q^t) / (1 - q)`, which
  is t where both roots are equal (critical damping), :math:`U_t = z_1^{t-1} E_t`,
  :math:`d_t = (\pm z_1)^t ((1 \mp z_2) E_t + q^t)` and
  :math:`S_t = G + (G - U_t) z_2 / (1 - z_2)` with :math:`G = (1 - z_1^t) / \delta`. The lower
  signs are for mirrored modes.
- Complex roots :math:`\sqrt\mu\, e^{\pm i \theta}`: :math:`d_t = (\pm\sqrt\mu)^t (\cos t\theta +
  (\cos\theta \mp \sqrt\mu) \sin t\theta / \sin\theta)`.

Source: Goh 2017, "Why momentum really works", section "The dynamics of momentum"; Polyak 1964.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ntkjax._inference.dynamics import is_unseen


class HeavyBall(NamedTuple):
    """Gradient descent with momentum above 0 and below 1: a `Dynamics`.

    Times are numbers of steps, whole or infinite; the rate is divided by the size of the targets.
    """

    rate: Array
    momentum: Array

    def decay(self, values: Array, time: Array) -> Array:
        """The share of the initial error that is left."""
        return self._shares(values, time)[0]

    def learned(self, values: Array, time: Array) -> Array:
        """The share of the targets that has been learned."""
        return self._shares(values, time)[1]

    def response(self, values: Array, time: Array) -> Array:
        """The rate times the sum of U over the steps made."""
        made = self.rate * self._shares(values, time)[2]
        return jnp.where(is_unseen(values, time), 0.0, made)

    def _shares(self, values: Array, time: Array) -> tuple[Array, Array, Array]:
        """The shares d and 1 - d, and S."""
        x, bound = self.rate * values, 2 * (1 + self.momentum)
        mirrored = bound - x < x
        moves = (time > 0) & jnp.isfinite(time)
        t = jnp.where(moves, time, 1.0)
        left, total = self._after_steps(jnp.where(mirrored, bound - x, x), mirrored, t)
        # Mirrored modes have x above 1, so that the difference loses nothing.
        moved = x != 0
        safe = jnp.where(moved, x, 1.0)
        total = jnp.where(mirrored, (1 - left) / safe, total)
        # After no step, and at infinite time, where a mode at rest stays and one too fast diverges.
        rest, gone = jnp.where(x < bound, 0.0, jnp.inf), jnp.where(x < bound, 1 / safe, -jnp.inf)
        begins = time == 0
        left = jnp.where(moves, left, jnp.where(begins | ~moved, 1.0, rest))
        total = jnp.where(moves, total, jnp.where(begins, 0.0, jnp.where(moved, gone, jnp.inf)))
        learned = jnp.where(mirrored, 1 - left, jnp.where(moved, safe * total, 0.0))
        return left, learned, total

    def _after_steps(self, x: Array, mirrored: Array, t: Array) -> tuple[Array, Array]:
        """The share d, and S of modes that are not mirrored, after t steps, at least one."""
        root = jnp.sqrt(self.momentum)
        a = ((1 - self.momentum) / (1 + root)) ** 2
        square = (a - x) * ((1 + root) ** 2 - x)  # of the difference of the roots
        is_real, is_double = square >= 0, square == 0
        apart = jnp.sqrt(jnp.where(is_double, 1.0, jnp.abs(square)))
        sign = jnp.where(mirrored & (jnp.mod(t, 2) == 1), -1.0, 1.0)
        side = jnp.where(mirrored, -1.0, 1.0)
        creeping = self._creeping(
            jnp.where(is_real, x, 0.0),
            jnp.where(is_double, 0.0, jnp.where(is_real, apart, 1 - self.momentum)),
            side,
            t,
        )
        oscillating = self._oscillating(x, jnp.where(is_double, 1.0, apart), side, t)
        left, total = (
            jnp.where(is_real, one, other) for one, other in zip(creeping, oscillating, strict=True)
        )
        return sign * left, total

    def _creeping(self, x: Array, apart: Array, side: Array, t: Array) -> tuple[Array, Array]:
        """Of real roots that differ by `apart`: |d|, and S."""
        delta = 2 * x / (1 - self.momentum + x + apart)
        log_large = jnp.log1p(-delta)
        small = self.momentum / (1 - delta)
        gap = apart / (1 - delta)  # 1 - q
        near, equal = gap < 0.5, gap == 0
        log_q = jnp.where(
            near,
            jnp.log1p(-jnp.where(near, gap, 0.0)),
            jnp.log(self.momentum) - 2 * log_large,
        )
        e = jnp.where(equal, t, -jnp.expm1(t * log_q) / jnp.where(equal, 1.0, gap))
        power = jnp.exp(t * log_large)
        left = power * ((1 - side * small) * e + jnp.exp(t * log_q))
        still = delta == 0
        g = jnp.where(still, t, -jnp.expm1(t * log_large) / jnp.where(still, 1.0, delta))
        u = jnp.exp((t - 1) * log_large) * e
        return left, g + (g - u) * small / (1 - small)

    def _oscillating(self, x: Array, apart: Array, side: Array, t: Array) -> tuple[Array, Array]:
        """Of complex roots that differ by i times `apart`: d but for its sign, and S."""
        double_cos = 1 + self.momentum - x  # that of the angle, times 2 sqrt(mu)
        angle = jnp.arctan2(apart, double_cos)
        # (cos - side sqrt(mu)) / sin
        tilt = (1 + (1 - 2 * side) * self.momentum - x) / apart
        log_power = t * jnp.log(self.momentum) / 2
        power, sine = jnp.exp(log_power), jnp.sin(t * angle)
        left = power * (jnp.cos(t * angle) + tilt * sine)
        learned = -jnp.expm1(log_power) + power * (2 * jnp.sin(t * angle / 2) ** 2 - tilt * sine)
        return left, learned / jnp.where(x > 0, x, 1.0)
