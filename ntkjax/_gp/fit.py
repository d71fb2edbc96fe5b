"""Parameters of a network and noise, fitted to training points."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._gp.arguments import check_names, count_of
from ntkjax._gp.bounds import Box, chosen
from ntkjax._gp.minimize import minimize
from ntkjax._scale.progress import progress


class Search(NamedTuple):
    """What is searched, between which bounds, and how: arguments of `optimize`."""

    over: Sequence[str] | None
    bounds: Mapping[str, Any]
    optimizer: Any
    steps: int
    restarts: int
    seed: int


class Best(NamedTuple):
    """The best values that were seen, and the objective step by step of each start."""

    values: dict[str, float]
    history: tuple[tuple[float, ...], ...]


def search_of(
    over: Any, bounds: Any, optimizer: Any, steps: Any, restarts: Any, seed: Any
) -> Search:
    """The same, checked."""
    counts = count_of("steps", steps), count_of("restarts", restarts, 0), count_of("seed", seed, 0)
    return Search(over, dict(bounds or {}), optimizer, *counts)


def best_parameters(
    objective: Callable[..., Array],
    data: tuple[Any, ...],
    numbers: Mapping[str, float],
    search: Search,
    dtype: Any,
    size: int,
    name: str,
) -> Best:
    """Where `objective(values, *data)` is largest, from some numbers by name.

    `size` is how many numbers the objective is a sum over, `name` what it is called.
    """
    mend = (
        "a parameter in params, a noise that is one number, or the 'noise_factor' of noise given "
        "point by point"
    )
    check_names("bounds", search.bounds, numbers, mend)
    box = Box(chosen(search.over, numbers, search.bounds), search.bounds)

    def loss(free: Array, *data: Any) -> Array:
        return -objective(box.values(free), *data) / size

    program = jax.jit(jax.value_and_grad(loss))

    def value_and_grad(free: Array) -> tuple[Array, Array]:
        return program(free, *data)

    starts = [box.start, *box.draws(search.restarts, search.seed)]
    ends = []
    for i, start in enumerate(starts):
        unit = "step" if not search.restarts else f"step of start {i + 1}/{len(starts)}"
        steps = progress(range(search.steps), unit)
        ends.append(minimize(value_and_grad, start, search.optimizer, steps, dtype))
    best = min(ends, key=lambda end: end.value)
    if not np.isfinite(best.value):
        raise ValueError(
            f"optimize: the {name} is finite at none of {len(starts)} starts, of "
            f"{', '.join(box.names)}: start from other values, or narrow the bounds"
        )
    values = {name: float(value) for name, value in box.values(jnp.asarray(best.point)).items()}
    return Best(values, tuple(tuple(-size * value for value in end.history) for end in ends))
