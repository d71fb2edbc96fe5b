"""Positions with weights of their own, which share nothing: the last step of ConvLocal.

    K[p, q] <- K[p, p] where q = p, and 0 elsewhere;    D[p, q] <- v1[p] + v2[q] elsewhere,

and Theta as K. All diagonals come from the one of equal positions, so what is below is made on that
one alone, once: `Kept` stores it.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.diagonals import Diagonals, Rows, Shift, put, rows_shape
from ntkjax._kernel.algebra.image import Image, on_positions
from ntkjax._kernel.algebra.operation import (
    Collector,
    Context,
    RowOperation,
    Seen,
    Step,
    operation,
)
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.algebra.sides import Row
from ntkjax._kernel.algebra.signal import Signal


@operation
class Kept(Collector):
    """The diagonals that are wanted, as they are, made once and stored."""

    works_unscaled = True

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        return signals[0]

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, None]:
        return images[0], None

    def start(self, below: Diagonals, here: Diagonals, lanes: tuple[int, ...]) -> tuple[int, ...]:
        return rows_shape(here, lanes)

    def add(
        self, total: Array, rows: Array, shift: Any, lanes: tuple[Any, ...], below: Diagonals,
        here: Diagonals,
    ) -> Array:  # fmt: skip
        return put(total, rows, shift, lanes, here)


@operation
class Unshared(RowOperation):
    """No covariance between different positions."""

    carries_supplement = True
    works_unscaled = True
    maps_output = True

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        return signals[0]

    @property
    def keeps_rows(self) -> bool:
        return False

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        return given.zero().rows

    def source(self, shift: Shift, below: Diagonals) -> Shift:
        return tuple(0 * d for d in shift)  # an array of several diagonals stays one

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, Any]:
        (image,) = images
        return image, image.variance

    def masks(self, here: Row, below: Row | None, step: Step) -> Array:
        """Whether these are diagonals of equal positions."""
        return here.is_of_equal_positions

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        (given,) = pairs
        itself = on_positions(seen.masks, given.moment.ndim)
        is_distance = step.here.form.is_distance
        apart = seen.first + seen.second if is_distance else jnp.zeros_like(given.moment)
        ntk = None if given.ntk is None else jnp.where(itself, given.ntk, 0.0)
        return Pairs(jnp.where(itself, given.moment, apart), ntk)
