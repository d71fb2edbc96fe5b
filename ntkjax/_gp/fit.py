"""Parameters of a network and noise, fitted to the training points of a process."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._gp.arguments import NOISE, function_of
from ntkjax._gp.bounds import Box, chosen
from ntkjax._gp.likelihood import noisy_covariance
from ntkjax._gp.losses import OBJECTIVES
from ntkjax._gp.minimize import minimize
from ntkjax._gp.state import State
from ntkjax._scale.progress import progress


def best_parameters(
    state: State,
    network: Any,
    params: Mapping[str, Any] | None,
    bounds: Mapping[str, Any],
    get: str,
    over: Sequence[str] | None,
    objective: str,
    optimizer: Any,
    steps: int,
    restarts: int,
    seed: int,
) -> tuple[dict[str, float], tuple[tuple[float, ...], ...]]:
    """The values of the best end, and the objective step by step of each start."""
    judge = function_of("objective", objective, OBJECTIVES)
    numbers = {name: float(value) for name, value in (params or {}).items()}
    if not state.noise.ndim:
        numbers[NOISE] = float(state.noise)
    unknown = [name for name in bounds if name not in numbers]
    if unknown:
        raise ValueError(
            f"bounds holds {', '.join(map(repr, unknown))}, expected names among "
            f"{', '.join(map(repr, numbers))}: a parameter in params, or a noise that is one number"
        )
    box = Box(chosen(over, numbers, bounds), bounds)
    dtype, size = state.right.dtype, state.right.size

    def loss(free: Array, x: Array, right: Array, noise: Array) -> Array:
        values = box.values(free)
        matrix = noisy_covariance(network, params, get, values, x, noise, dtype)
        return -judge(matrix, right) / size

    program = jax.jit(jax.value_and_grad(loss))
    data = state.scaled(state.x), state.right, state.noise

    def value_and_grad(free: Array) -> tuple[Array, Array]:
        return program(free, *data)

    starts = [box.start, *box.draws(restarts, seed)]
    ends = []
    for i, start in enumerate(starts):
        unit = "step" if not restarts else f"step of start {i + 1}/{len(starts)}"
        ends.append(minimize(value_and_grad, start, optimizer, progress(range(steps), unit), dtype))
    best = min(ends, key=lambda end: end.value)
    if not np.isfinite(best.value):
        raise ValueError(
            f"optimize: the {objective} is finite at none of {len(starts)} starts, of "
            f"{', '.join(box.names)}: start from other values, or narrow the bounds"
        )
    values = {name: float(value) for name, value in box.values(jnp.asarray(best.point)).items()}
    return values, tuple(tuple(-size * value for value in end.history) for end in ends)
