"""The course of one gradient descent: from its start and the times asked for to outputs then."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._inference.arguments import common_dtype, scaled_times
from ntkjax._inference.descent import Descent, Setting, glide, scales
from ntkjax._inference.modes import Modes
from ntkjax._inference.ode_state import ODEState
from ntkjax._inference.start import Start
from ntkjax._jax_compat import is_concrete
from ntkjax._kernel.arrays import describe
from ntkjax._solve.symmetric import highest

_steepest = jax.jit(Descent.steepest, static_argnums=0)
_fastest_rate = jax.jit(Descent.fastest_rate, static_argnums=0)


@dataclasses.dataclass
class Course:
    """A descent with all that it needs; `velocity` holds those on training and on test points."""

    descent: Descent
    y: Array
    modes: Modes
    start: Start
    velocity: tuple[Array | None, Array | None]
    learning_rate: Any
    momentum: Any

    def states(self, times: Array) -> ODEState:
        """The states at increasing times of any shape, whose axes come first."""
        dtype = common_dtype(self.y, self.modes.values)
        with jax.ensure_compile_time_eval():
            rate = jnp.asarray(self.learning_rate, dtype)
            rate = rate if self.momentum is None else jnp.sqrt(rate)
            scaled = scaled_times(times.astype(dtype).reshape(-1), rate, 1)[0]
        setting, across = self._setting(dtype, rate)
        z, *p = self._solved(setting, scaled)
        basis = setting.vectors * setting.down[None, :]
        return self._read(setting, across, basis, times.shape, scaled, z, p)

    def _setting(self, dtype: Any, rate: Array) -> tuple[Setting, Array]:
        """The arrays of the differential equation, and what test points take of a mode."""
        layout = self.descent.layout
        modes = Modes(self.modes.values.astype(dtype), self.modes.vectors.astype(dtype))
        given = (0.0 if a is None else a for a in (self.start.train, self.velocity[0]))
        outputs, velocities = (
            layout.target_matrix(jnp.broadcast_to(jnp.asarray(a, dtype), self.y.shape))
            for a in given
        )
        y = self.y.astype(dtype)
        largest = jnp.max(jnp.abs(jnp.stack([layout.target_matrix(y), outputs, velocities])))
        unit = jnp.where(largest > 0, largest, 1)
        variance = jnp.mean(modes.values)
        unit = unit / jnp.sqrt(jnp.where(variance > 0, variance, 1))
        drag = jnp.zeros((), dtype)
        if self.momentum is not None:
            left = jnp.asarray(1, dtype) - jnp.asarray(self.momentum, dtype)
            drag = jnp.where(rate == 0, 0, left / jnp.where(rate == 0, 1, rate))
        up, down, across = scales(modes, unit)
        one = jnp.ones((), dtype)
        setting = Setting(y, modes.vectors, up, down, drag, outputs, velocities, one)
        return self._checked(setting), across

    def _checked(self, setting: Setting) -> Setting:
        """The setting, with how steep the loss is; raises where that is no finite number."""
        value = jax.eval_shape(self.descent.loss, setting.y, setting.y)
        shape = getattr(value, "shape", None)
        if shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
            raise ValueError(
                f"loss must return one real number, got {describe(value)}: take a mean, such as "
                "0.5 * jnp.mean((fx - y) ** 2)"
            )
        (z, *_), time = self.descent.start(setting), jnp.zeros((), setting.up.dtype)
        steepest = _steepest(self.descent, time, z, setting)
        if is_concrete(steepest) and not bool(jnp.isfinite(steepest)):
            raise ValueError(
                "loss must have a finite gradient where training starts, got NaN or infinity: pass "
                "other outputs at time 0, or a loss that is finite for all outputs"
            )
        return setting._replace(steepest=steepest)

    def _solved(self, setting: Setting, times: Array) -> tuple[Array, ...]:
        """The states at times `(k,)`, of which those at the end may be infinite."""
        count = len(times)
        finite = int(np.isfinite(np.asarray(times)).sum()) if is_concrete(times) else count
        begin = self.descent.start(setting)
        found = jax.tree.map(lambda a: jnp.zeros((0, *a.shape), a.dtype), begin)
        if finite:
            found = self._until(setting, begin, times[:finite])
        if finite < count:
            last = jax.tree.map(lambda a: a[-1], found) if finite else begin
            since = times[finite - 1] if finite else jnp.zeros((), times.dtype)
            end = self._at_rest(setting, last, since)
            ends = jax.tree.map(lambda a: jnp.broadcast_to(a, (count - finite, *a.shape)), end)
            found = jax.tree.map(lambda *both: jnp.concatenate(both), found, ends)
        return found

    def _until(self, setting: Setting, begin: Any, times: Array) -> Any:
        from ntkjax._inference import integrate

        decays = _fastest_rate(self.descent, setting) * times[-1]
        decays = float(decays) if is_concrete(decays) else float("inf")
        rows, columns = setting.outputs.shape
        columns *= len(begin)
        stiff = integrate.is_stiff(rows, columns, decays)
        states, arrived = integrate.integrate(self.descent, begin, times, setting, stiff)
        may_be = not stiff and integrate.is_stiff(rows, columns, float("inf"))
        if may_be and is_concrete(arrived) and not arrived:
            # The loss bends more on the way than at the start.
            stiff = True
            states, arrived = integrate.integrate(self.descent, begin, times, setting, stiff)
        is_large = integrate.too_large(rows, columns)
        why = f" (it is explicit, as {rows * columns} numbers are too many for the implicit one)"
        return _checked_states(
            states,
            arrived,
            f"gradient descent takes the solver more than {integrate.max_steps(stiff)} steps, its "
            f"limit, to the last time{why if is_large else ''}: ask for an earlier t, and go on "
            "from there with the ODEState of that time in the place of fx_train_or_state_0; the "
            "squared error has gradient_descent_mse, which needs no steps",
        )

    def _at_rest(self, setting: Setting, begin: Any, since: Array) -> Any:
        from ntkjax._inference import integrate

        state, rests = integrate.settle(self.descent, begin, since, setting)
        return _checked_states(
            state,
            rests,
            "gradient descent has no steady state within the limit on steps of the solver, "
            f"{integrate.max_steps(True)}: the outputs may grow for ever, as of cross-entropy they "
            "do on points that can be told apart; ask for a finite t, or add a penalty on the "
            "outputs to the loss",
        )

    def _read(
        self,
        setting: Setting,
        across: Array,
        basis: Array,
        shape: tuple[int, ...],
        times: Array,
        z: Array,
        p: list[Array],
    ) -> ODEState:
        """Outputs and velocities at times, of the states of the differential equation."""
        layout, dtype = self.descent.layout, times.dtype
        free = glide(setting.drag, times), jnp.exp(-setting.drag * times)

        def outputs(basis: Array, rows: Any, start: Array | None, velocity: Array | None) -> Any:
            def at_each(made: Array, start: Array | None, factor: Array) -> Array:
                """`factor * start` less what the modes have made, at every time."""
                change = layout.outputs(highest(basis, made), rows)
                if start is not None:
                    start = jnp.broadcast_to(start.astype(dtype), change.shape[1:])
                    change = change - factor.reshape(-1, *[1] * start.ndim) * start[None]
                return -change.reshape(*shape, *change.shape[1:])

            moved = at_each(z, velocity, free[0])
            if start is not None:
                moved = moved + start.astype(dtype).reshape(
                    (1,) * (moved.ndim - start.ndim) + start.shape
                )
            return moved, at_each(p[0], velocity, free[1]) if p else None

        fx_train, qx_train = outputs(basis, layout.row_shape, self.start.train, self.velocity[0])
        fx_test = qx_test = None
        if self.start.cross is not None:
            cross, rows = self.start.cross
            basis = highest(cross.astype(dtype), setting.vectors) * across[None, :]
            fx_test, qx_test = outputs(basis, rows, self.start.test, self.velocity[1])
        return ODEState(fx_train, fx_test, qx_train, qx_test)


def _checked_states(states: Any, arrived: Array, message: str) -> Any:
    """The states; raises, or gives NaN where nothing can be seen, if the solver did not arrive."""
    if is_concrete((states, arrived)):
        if not bool(arrived) or not all(bool(jnp.all(jnp.isfinite(a))) for a in states):
            raise RuntimeError(message)
        return states
    return jax.tree.map(lambda a: jnp.where(arrived, a, jnp.nan), states)
