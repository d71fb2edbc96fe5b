"""Integration of a descent in time, by diffrax: to given times, or until nothing moves.

Short times are taken by an explicit method. Where the fastest modes decay many times over in the
time that is asked for, the problem is stiff, and an implicit method takes steps as long as the slow
modes allow.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._inference.descent import Descent, Setting

#: Steps of the implicit solver beyond one for each time, and how many explicit ones count as one.
MAX_STEPS, _CHEAPER = 4096, 8
#: Over how many decay times of the fastest mode a step of the explicit method goes at least, and
#: how often it asks for the slope of the loss.
_REACH, _STAGES = 3.0, 13
#: Steps of the implicit method over all of a long time, as a rule.
_USUAL_STEPS = 200
#: Largest state whose Jacobian an implicit method holds as a matrix.
_DENSE = 4000


def tolerance(dtype: Any) -> float:
    """The error of a step, relative to the outputs."""
    return 1e-9 if jnp.finfo(dtype).bits == 64 else 1e-5


def max_steps(stiff: bool) -> int:
    """The limit on steps beyond one for each time."""
    return MAX_STEPS if stiff else MAX_STEPS * _CHEAPER


def too_large(rows: int, columns: int) -> bool:
    """Whether a state `(rows, columns)` has no Jacobian as a matrix, which implicit steps need."""
    return rows * columns > _DENSE


def is_stiff(rows: int, columns: int, decays: float) -> bool:
    """Whether to solve equations at each step of a state `(rows, columns)`, as what costs less.

    `decays` tells how many times the fastest mode decays. Costs are in multiplications: of slopes
    with the modes, and of a Jacobian as a matrix, which is made and factored at each step.
    """
    size, steps = rows * columns, decays / _REACH
    if too_large(rows, columns) or steps > max_steps(False):
        return not too_large(rows, columns)
    explicit = steps * _STAGES * 2 * rows * size
    return _USUAL_STEPS * (size**3 / 3 + 2 * rows * size**2) < explicit


def integrate(
    descent: Descent, start: Any, times: Array, setting: Setting, stiff: bool
) -> tuple[Any, Array]:
    """The states at increasing times `(k,)`, and whether the last one was reached."""
    with _any_promotion():
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(descent),
            _solver(times.dtype, stiff),
            jnp.zeros((), times.dtype),
            times[-1],
            None,
            start,
            setting,
            saveat=diffrax.SaveAt(ts=times),
            # Steps end at the times: what is interpolated between steps is less exact.
            stepsize_controller=_controller(times.dtype, step_ts=times),
            max_steps=max_steps(stiff) + len(times),
            throw=False,
        )
        return solution.ys, solution.result == diffrax.RESULTS.successful


def settle(descent: Descent, start: Any, since: Array, setting: Setting) -> tuple[Any, Array]:
    """The state in which nothing moves any more, and whether there is one."""
    # What modes without a share in the outputs on the training points make of the loss has no end.
    setting = setting._replace(up=jnp.where(setting.down > 0, setting.up, 0))
    stiff = sum(a.size for a in start) <= _DENSE
    with _any_promotion():
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(descent),
            _solver(since.dtype, stiff),
            since,
            jnp.asarray(jnp.inf, since.dtype),
            None,
            start,
            setting,
            stepsize_controller=_controller(since.dtype),
            event=diffrax.Event(_Rest(descent)),
            max_steps=max_steps(stiff),
            throw=False,
        )
        state = jax.tree.map(lambda a: a[0], solution.ys)
        return state, solution.result == diffrax.RESULTS.event_occurred


@dataclasses.dataclass(frozen=True)
class _Rest:
    """Whether nothing moves any more: the loss is flat, and another such time changes nothing."""

    descent: Descent

    def __call__(self, time: Any, state: Any, setting: Setting, **_: Any) -> Array:
        tol = 10 * tolerance(setting.up.dtype)
        moves = jnp.max(jnp.abs(jnp.stack(self.descent(time, state, setting))))
        moved = jnp.max(jnp.abs(jnp.stack(state)))
        is_flat = self.descent.steepest(time, state[0], setting) <= tol * setting.steepest
        return is_flat & (time * moves <= tol * jnp.maximum(moved, 1))


def _solver(dtype: Any, stiff: bool) -> Any:
    if not stiff:
        return diffrax.Dopri8()
    tol = tolerance(dtype)
    # In float32, a hundredth of the tolerance would be less than rounding leaves.
    kappa = 1e-2 if jnp.finfo(dtype).bits == 64 else 1e-1
    finder = diffrax.VeryChord(rtol=tol, atol=tol, norm=_root_mean_square, kappa=kappa)
    return diffrax.Kvaerno5(root_finder=finder)


def _root_mean_square(state: Any) -> Array:
    """As the steps are judged, so are the equations that are solved for each of them."""
    return jnp.sqrt(jnp.mean(jnp.stack([jnp.mean(a**2) for a in jax.tree.leaves(state)])))


def _controller(dtype: Any, **options: Any) -> Any:
    tol = jnp.asarray(tolerance(dtype), dtype)
    return diffrax.PIDController(tol, tol, pcoeff=0.3, icoeff=0.4, **options)


@contextlib.contextmanager
def _any_promotion() -> Iterator[None]:
    """A context in which JAX promotes ranks and dtypes, as the solver has it."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield
