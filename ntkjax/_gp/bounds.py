r"""Parameters between bounds, as numbers without any.

.. math::
    \theta = l + (h - l) \frac{1 + \sin u}{2},

for any u, as in Minuit (James and Roos 1975): the bounds themselves are reached at finite u. Where
the lower one is positive, :math:`\log \theta` takes the place of :math:`\theta`, so that a step
multiplies. Example: between 0.1 and 10, u = 0 is 1 and u = π/2 is 10.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._gp.arguments import NOISE_FACTOR, interval
from ntkjax._kernel.arrays import describe

#: Without bounds a parameter may be smaller or larger than its start by this factor.
_FACTOR = 100.0


class Box:
    """The bounds of some parameters, by name."""

    def __init__(self, starts: Mapping[str, float], bounds: Mapping[str, Any]) -> None:
        self.names = tuple(starts)
        ends = [_ends(name, starts[name], bounds.get(name)) for name in self.names]
        self.is_log = np.array([low > 0 for low, _ in ends])
        self.ends = np.array([np.log(pair) if pair[0] > 0 else pair for pair in ends])
        self.start = self.free(starts)

    def values(self, free: Array) -> dict[str, Array]:
        """The parameters of numbers without bounds `(p,)`."""
        low, high = (jnp.asarray(ends, free.dtype) for ends in self.ends.T)
        inside = low + (high - low) * (1 + jnp.sin(free)) / 2
        inside = jnp.where(self.is_log, jnp.exp(inside), inside)
        return {name: inside[i] for i, name in enumerate(self.names)}

    def free(self, values: Mapping[str, float]) -> np.ndarray:
        """The numbers without bounds of parameters."""
        inside = np.array([float(values[name]) for name in self.names])
        inside = np.where(self.is_log, np.log(np.where(self.is_log, inside, 1)), inside)
        low, high = self.ends.T
        share = 2 * (inside - low) / (high - low) - 1
        # At a bound itself the sine is flat, and no descent would leave it.
        return np.arcsin(np.clip(share, -0.99, 0.99))

    def draws(self, count: int, seed: int) -> list[np.ndarray]:
        """Further starts, uniform between the bounds (or their logarithms)."""
        share = np.random.default_rng(seed).uniform(size=(count, len(self.names)))
        return list(np.arcsin(2 * share - 1))


def chosen(
    over: Sequence[str] | None, numbers: Mapping[str, float], bounds: Mapping[str, Any]
) -> dict[str, float]:
    """The parameters that are to be fitted, and where they start.

    Noise that is given point by point is known, and stays unless its factor is named.
    """
    if over is None:
        free = [name for name, value in numbers.items() if value > 0 and name != NOISE_FACTOR]
        over = [name for name in numbers if name in free or name in bounds]
    if isinstance(over, str):
        over = (over,)
    if not isinstance(over, (tuple, list, set, frozenset, dict)):
        raise TypeError(f"over is {describe(over)}, expected names: pass over=['noise'], say")
    unknown = [name for name in over if name not in numbers]
    if unknown or not over:
        names = ", ".join(map(repr, numbers)) or "none"
        raise ValueError(
            f"over={describe(over)}, expected names among {names}: only a parameter in params, a "
            "noise that is one number, or the 'noise_factor' of noise given point by point can be "
            "fitted"
        )
    return {name: float(numbers[name]) for name in dict.fromkeys(over)}


def _ends(name: str, start: float, bounds: Any) -> tuple[float, float]:
    if bounds is None:
        if not start > 0:
            raise ValueError(
                f"{name} starts at {start:g}, of which a hundredth and a hundred times are no "
                f"bounds: pass bounds={{{name!r}: (lowest, highest)}}"
            )
        return start / _FACTOR, start * _FACTOR
    low, high = interval(name, bounds)
    if not low <= start <= high or math.isnan(start):
        raise ValueError(
            f"{name} starts at {start:g}, outside of its bounds ({low:g}, {high:g}): start between "
            "them"
        )
    return low, high
