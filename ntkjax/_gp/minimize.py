"""Minimization of a smooth function of a few numbers: L-BFGS, or any optimizer of optax.

The function is a compiled program of its value and gradient, called from here as often as it takes:
within one program with the optimizer it would be compiled several times over.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

#: Halvings and doublings of a step.
_TRIALS = 25


class Minimum(NamedTuple):
    """The lowest point that was seen, its value, and the values step by step."""

    point: Array
    value: float
    history: tuple[float, ...]


def minimize(
    value_and_grad: Callable[[Array], tuple[Array, Array]],
    start: np.ndarray,
    optimizer: Any,
    steps: Any,
    dtype: Any,
) -> Minimum:
    """Descend from a start; `steps` is what is iterated over, such as a progress bar.

    Without an optimizer it is L-BFGS, whose steps fulfil the weak Wolfe conditions; it ends where
    steps no longer lower the value. A value that is not finite counts as infinitely high.
    """
    point = jnp.asarray(start, dtype)
    if optimizer is not None:
        return _by(optimizer, value_and_grad, point, steps)
    method = optax.scale_by_lbfgs()
    update, state = jax.jit(method.update), method.init(point)

    def at(point: Array) -> tuple[float, Array]:
        value, grad = value_and_grad(point)
        return _finite(value), jnp.where(jnp.isfinite(grad), grad, 0)

    value, grad = at(point)
    history, stalls = [value], 0
    tolerance = {4: 1e-6, 8: 1e-9}[np.dtype(dtype).itemsize]
    for _ in steps:
        with _lenient():
            direction, state = update(grad, state, point)
        moved = _line_search(at, point, value, grad, -np.asarray(direction, np.float64))
        if moved is None:
            break
        point, new, grad = moved
        history.append(new)
        # One small step may be an accident.
        stalls = stalls + 1 if value - new < tolerance else 0
        value = new
        if stalls == 2:
            break
    return Minimum(point, value, tuple(history))


def _by(optimizer: Any, value_and_grad: Any, point: Array, steps: Any) -> Minimum:
    """The same by an optimizer of the user's, which may go uphill for a while."""
    method = optax.with_extra_args_support(optimizer)

    @jax.jit
    def step(point: Array, state: Any) -> tuple[Array, Any, Array]:
        value, grad = value_and_grad(point)
        grad = jnp.where(jnp.isfinite(grad), grad, 0)
        extra = {"value": value, "grad": grad, "value_fn": lambda p: value_and_grad(p)[0]}
        change, state = method.update(grad, state, point, **extra)
        return jnp.asarray(optax.apply_updates(point, change), point.dtype), state, value

    state, seen = method.init(point), []
    for _ in steps:
        with _lenient():
            after, state, value = step(point, state)
        seen.append((_finite(value), point))
        point = after
    seen.append((_finite(value_and_grad(point)[0]), point))
    value, best = min(seen, key=lambda pair: pair[0])
    return Minimum(best, value, tuple(value for value, _ in seen))


def _finite(value: Array) -> float:
    """A value that is not finite counts as infinitely high."""
    return float(value) if np.isfinite(value) else float("inf")


@contextlib.contextmanager
def _lenient() -> Iterator[None]:
    """Within, JAX promotes types and ranks, as optax needs, whatever the caller's setting."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def _line_search(
    at: Callable[[Array], tuple[float, Array]],
    point: Array,
    value: float,
    grad: Array,
    direction: np.ndarray,
) -> tuple[Array, float, Array] | None:
    """A step that lowers the value enough and flattens the slope, by bisection (Lewis, Overton)."""
    slope = float(np.dot(np.asarray(grad, np.float64), direction))
    if not slope < 0:
        direction = -np.asarray(grad, np.float64)
        slope = -float(np.dot(direction, direction))
    if slope == 0:
        return None
    # The numbers are angles: beyond one or two, a step has passed from one bound to the other.
    length = min(1.0, 1.0 / float(np.max(np.abs(direction))))
    low, high, found = 0.0, float("inf"), None
    for _ in range(_TRIALS):
        trial = point + jnp.asarray(length * direction, point.dtype)
        new, new_grad = at(trial)
        if not new <= value + 1e-4 * length * slope:
            high = length
        elif float(np.dot(np.asarray(new_grad, np.float64), direction)) < 0.9 * slope:
            low, found = length, (trial, new, new_grad)
        else:
            return trial, new, new_grad
        length = 2 * low if high == float("inf") else (low + high) / 2
        if found is not None and high < float("inf") and high - low < 1e-3 * high:
            break
    return found
