"""Parameters of a network and noise, fitted to training points."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._gp.arguments import check_names, count_of, seed_of
from ntkjax._gp.bounds import Box, chosen
from ntkjax._gp.minimize import minimize
from ntkjax._kernel.arrays import describe
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
    counts = count_of("steps", steps), count_of("restarts", restarts, 0), seed_of(seed)
    if optimizer is not None and not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise TypeError(
            f"optimizer is {describe(optimizer)}, expected an optimizer of optax or None for "
            "L-BFGS: pass optax.adam(0.1), say"
        )
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
        try:
            return program(free, *data)
        except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
            raise TypeError(
                "network makes Python or NumPy numbers of its parameters, which optimize traces: "
                f"compute with them by jax.numpy, without float() or if ({error})"
            ) from error

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
