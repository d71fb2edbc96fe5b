r"""Gradient descent on any loss in the space of outputs, in the eigenbasis of the kernel.

With \Theta = V \Lambda V^T the kernel of the training points and \Theta_* that of test with
training points, outputs obey df/dt = -\Theta g and df_*/dt = -\Theta_* g, with g the gradient of
the loss by the outputs on the training points. Both follow from the integral of g over time alone.
It is held by modes, each divided by a number so that all of them count alike:

    dz/dt = up V^T g,  f = f(0) - V (down z),  f_* = f_*(0) - \Theta_* V (across z)

with up = \sqrt\lambda / u, down = \sqrt\lambda u, across = u / \sqrt\lambda, and u the unit in
which outputs are measured. So z is what the weights of a linear model with \lambda as variances of
its features move by, and the Jacobian of dz/dt is symmetric. An error of z is one of the outputs on
training and on test points, in units of u.

With momentum, dz/dt = p and dp/dt = up V^T g - drag p; velocities q(0) at the start glide on by
themselves and come to rest after (1 - exp(-drag t)) / drag.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._inference.layout import Layout
from ntkjax._inference.modes import Modes
from ntkjax._solve.symmetric import highest

#: Iterations that find the fastest rate of a descent to within some percent.
_ITERATIONS = 16


class Setting(NamedTuple):
    """The arrays of a descent: targets, modes of the kernel, and what it starts from.

    `steepest` is the largest entry of the slope at the start, with which a slope counts as flat.
    """

    y: Array
    vectors: Array
    up: Array
    down: Array
    drag: Array
    outputs: Array
    velocities: Array
    steepest: Array


@dataclasses.dataclass(frozen=True)
class Descent:
    """The right hand side of the differential equation; equal ones are compiled once.

    A state is `(z,)`, or with momentum `(z, p)`, each of the shape of the targets as a matrix.
    """

    loss: Callable[..., Any]
    layout: Layout
    has_momentum: bool

    def __call__(self, time: Any, state: Any, setting: Setting) -> tuple[Any, ...]:
        """The derivative of a state by time."""
        force = setting.up[:, None] * self.slope(time, state[0], setting)
        if not self.has_momentum:
            return (force,)
        return state[1], force - setting.drag * state[1]

    def start(self, setting: Setting) -> tuple[Array, ...]:
        """The state at time 0."""
        nothing = jnp.zeros_like(setting.outputs)
        return (nothing, nothing) if self.has_momentum else (nothing,)

    def outputs(self, time: Array, z: Array, setting: Setting) -> Array:
        """Outputs on the training points, as a matrix."""
        moved = highest(setting.vectors, setting.down[:, None] * z)
        start = setting.outputs
        if self.has_momentum:
            start = start + glide(setting.drag, time) * setting.velocities
        return start - moved

    def slope(self, time: Array, z: Array, setting: Setting) -> Array:
        """The gradient of the loss by the outputs on the training points, by modes."""
        outputs = self.layout.outputs(self.outputs(time, z, setting), self.layout.row_shape)
        slope = jax.grad(lambda fx: self.loss(fx, setting.y))(outputs)
        return highest(setting.vectors.T, self.layout.target_matrix(slope))

    def steepest(self, time: Array, z: Array, setting: Setting) -> Array:
        """The largest entry of the slope, of modes with a share in the outputs."""
        slope = self.slope(time, z, setting)
        return jnp.max(jnp.abs(jnp.where((setting.down > 0)[:, None], slope, 0)))

    def fastest_rate(self, setting: Setting) -> Array:
        """The largest rate at which a mode of the linearised descent decays or oscillates."""
        (z, *_), time = self.start(setting), jnp.zeros((), setting.up.dtype)

        def bend(direction: Array) -> Array:
            force = lambda z: setting.up[:, None] * self.slope(time, z, setting)  # noqa: E731
            return jax.jvp(force, (z,), (direction,))[1]

        def step(_: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            direction, _ = carry
            bent = bend(direction)
            size = jnp.linalg.norm(bent)
            return bent / jnp.where(size > 0, size, 1), size

        # Entries that no loss holds for equal, so that all classes and points take part.
        first = jnp.sin(1 + jnp.arange(z.size, dtype=z.dtype)).reshape(z.shape)
        first = setting.up[:, None] * first
        size = jnp.linalg.norm(first)
        first = first / jnp.where(size > 0, size, 1)
        _, rate = jax.lax.fori_loop(0, _ITERATIONS, step, (first, jnp.zeros((), z.dtype)))
        return jnp.maximum(jnp.sqrt(rate), setting.drag) if self.has_momentum else rate


def glide(drag: Array, time: Array) -> Array:
    """(1 - exp(-drag time)) / drag: how far a unit of velocity carries."""
    still = drag == 0
    safe = jnp.where(still, 1, drag)
    return jnp.where(still, time, -jnp.expm1(-safe * time) / safe)


def scales(modes: Modes, unit: Array) -> tuple[Array, Array, Array]:
    """`up`, `down` and `across` of the modes, in a unit of outputs."""
    rounding = len(modes.values) * float(jnp.finfo(modes.values.dtype).eps)
    floor = rounding * jnp.max(modes.values)
    # Modes that are zero but for rounding pass their part of the loss to test points alone.
    root = jnp.sqrt(jnp.where(modes.values > floor, modes.values, jnp.where(floor > 0, floor, 1)))
    return root / unit, jnp.where(modes.values > floor, root, 0) * unit, unit / root
