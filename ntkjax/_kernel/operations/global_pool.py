"""Mean or sum over all positions: GlobalAvgPool, GlobalSumPool.

K' = mean over p, q of K[p, q], all pairs of positions, not equal ones (Arora et al. 2019, section
4.2). Every diagonal is added, position by position, to one total; the positions are summed last.

Where positions are masked, the weights w of the others belong to an image: 1 over their number c,
or 1 of a sum. Then, in the words of `Mixture`,

    A = w c,    m = w sum_p v[p],    M = w w' sum of D[p, q] over pairs neither of which is masked.

The sum is made of diagonals as before, and multiplied by w and w' where it is read.
"""

import functools
import math
import operator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.algebra.diagonals import (
    Diagonals,
    Rows,
    Shift,
    along,
    entry,
    largest_divisor,
)
from ntkjax._kernel.algebra.image import Image
from ntkjax._kernel.algebra.lanes import diagonals_to_fill, member_of
from ntkjax._kernel.algebra.operation import Context, Operation, Seen, Step, operation, static
from ntkjax._kernel.algebra.pairs import Mixture, Pairs, added_at
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.operations.linear import LinearCollector
from ntkjax._kernel.operations.masked import OfMasked, kept_map

#: So many parts of a diagonal at most are added up, each of so many positions at least.
_MOST_PARTS, _LEAST_POSITIONS = 8, 64


@operation
class GlobalPool(LinearCollector):
    """Mean (or sum) over all positions, whose axes go away."""

    mean: bool = static()

    unmasks = False

    def where_masked(self) -> tuple[Operation, ...]:
        return Kept(), KeptPool(self.mean)

    @property
    def keeps_periods(self) -> bool:
        return False

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        batch_first = signal.batch_axis < signal.channel_axis
        return signal.without_positions(signal.channels, 0 if batch_first else 1)

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        return given.all().rows

    def groups(self, rows: Diagonals, here: Diagonals, images: int) -> tuple[int, ...]:
        """As many along the last axis as fill the vectors where images are few."""
        members = [1] * rows.ndim
        for held in rows.rows[-1:]:
            members[-1] = largest_divisor(len(held), diagonals_to_fill(images))
        return tuple(members)

    def _divisor(self, below: Diagonals) -> int:
        return int(np.prod(below.sizes)) if self.mean else 1

    def _parts(self, below: Diagonals) -> int:
        """In how many parts, cut along the first axis, a diagonal is added to the total.

        The fewer positions that has, the sooner it stays in the cache.
        """
        most = min(math.prod(below.periods) // _LEAST_POSITIONS, _MOST_PARTS)
        return largest_divisor(below.periods[0], max(most, 1)) if below.ndim else 1

    def start(self, below: Diagonals, here: Diagonals, lanes: tuple[int, ...]) -> tuple[int, ...]:
        lengths = (n // self._parts(below) for n in below.periods[:1])
        return (*lengths, *below.periods[1:], *lanes)

    def add(
        self,
        total: Array,
        rows: Array,
        shift: Shift,
        lanes: tuple[Any, ...],
        below: Diagonals,
        here: Diagonals,
    ) -> Array:
        members = rows.shape[-1] // total.shape[-1]
        on_each = [jnp.atleast_1d(jnp.asarray(d)) for d in shift]
        parts = [
            part
            for m in range(members)
            for part in self._in_parts(
                member_of(rows, m, members), tuple(d[m] for d in on_each), below
            )
        ]
        rows = functools.reduce(operator.add, parts)
        if rows.shape == total.shape:
            return total + rows
        return added_at(total, rows, (*(0,) * below.ndim, *lanes))

    def _in_parts(self, row: Array, shift: Shift, below: Diagonals) -> list[Array]:
        """The pairs of positions on one diagonal, cut along the first axis."""
        for axis, (size, period) in enumerate(zip(below.sizes, below.periods, strict=True)):
            if size < period:
                live = np.stack([below.live(axis, d) for d in range(period)])
                mask = entry(live.astype(row.dtype), shift[axis])
                row = row * along(mask, row.ndim, axis)
        count = self._parts(below)
        return jnp.split(row, count) if count > 1 else [row]

    def finish(self, total: Array, below: Diagonals) -> Array:
        # Positions last of all: XLA is slow to sum over them, and here it does so once.
        rows = jnp.sum(total, axis=tuple(range(below.ndim))) / self._divisor(below) ** 2
        return rows[None]

    def positions(self, image_map: Array, below: Diagonals, here: Diagonals) -> Array:
        axes = tuple(range(below.ndim))
        return jnp.sum(image_map[below.crop], axis=axes) / self._divisor(below)

    def mass(self, below: Diagonals, here: Diagonals) -> np.ndarray:
        """A, the sum of the weights."""
        return np.array(np.prod(below.sizes) / self._divisor(below))


@operation
class Kept(OfMasked):
    """Leave out the distances of masked points, below a pool that gives these no weight."""

    carries_supplement = False

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        (given,) = pairs
        if not step.here.form.is_distance:
            return given
        return Pairs(seen.first.kept * seen.second.kept * given.moment, given.ntk)


@operation
class KeptPool(GlobalPool):
    """Mean (or sum) over all positions that are not masked."""

    def _divisor(self, below: Diagonals) -> int:
        return 1

    def of_image(
        self, images: tuple[Image, ...], context: Context
    ) -> tuple[Image, tuple[Array, Mixture | None]]:
        """The weight of a position, and what distances are made of."""
        (image,), below = images, context.step.below
        count = jnp.sum(kept_map(image, below)[below.crop], axis=tuple(range(below.ndim)))
        weight = 1 / jnp.maximum(count, 1.0) if self.mean else jnp.ones_like(count)
        if image.variance is None:
            return image, (weight, None)
        here = context.step.here.cross
        mean = weight * self.positions(image.variance, below, here)
        zero = here.row_index((0,) * here.ndim)
        energy = 0.5 * jnp.square(weight) * context.own.moment[zero]
        mixture = Mixture(mean, weight * count, energy)
        return image.with_variance(mixture.variance()), (weight, mixture)

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        (w1, first), (w2, second) = seen.first, seen.second
        mean = pairs[0].map(lambda a: w1 * w2 * a)
        return super().pair((mean,), seen._replace(first=first, second=second), step)
