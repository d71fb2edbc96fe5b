"""Segments: the operations between two places where diagonals mix.

Within a segment every diagonal is made of one diagonal below, so that the whole stack of layers runs
on one diagonal, while it lies in the cache. What depends on single images or on the diagonal alone
is made first, for all pairs that share it; a run of equal layers becomes a loop.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.diagonals import Shift
from ntkjax._kernel.inputs import mean_over_channels, squared_distance
from ntkjax._kernel.operation import MixingOperation, RowOperation, Step
from ntkjax._kernel.plan import Plan
from ntkjax._kernel.state import Pairs, Row, Side, covariance


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ImageMaps:
    """What is known of single images at one place: maps `[position per axis ..., *lanes]`.

    Attributes:
      variance: K[p, p]; None in covariance form.
      images: the inputs themselves, channels in front; only at inputs.
      mean: m of a mixing operation; only in distance form.
      energy: e of a mixing operation; only in distance form.
    """

    variance: Array | None = None
    images: Array | None = None
    mean: Array | None = None
    energy: Array | None = None


Maps = dict[int, ImageMaps]
Stores = dict[int, Pairs]


def is_source(plan: Plan, index: int) -> bool:
    """Whether a node starts a segment: an input, or held on several diagonals at once."""
    return not isinstance(plan.nodes[index].operation, RowOperation)


@dataclasses.dataclass(frozen=True)
class Segment:
    """The nodes that make one diagonal of a target, those before their consumers."""

    plan: Plan
    target: int
    order: tuple[int, ...]
    rows: dict[int, Row]

    @classmethod
    def below(cls, plan: Plan, target: int, shift: Shift) -> "Segment":
        """The segment that ends in `target`, at one of its diagonals."""
        rows = {target: Row(plan.held[target].cross, shift)}
        for index in range(target, -1, -1):
            if index in rows and not is_source(plan, index):
                node = plan.nodes[index]
                for j in node.inputs:
                    grid = plan.held[j].cross
                    rows[j] = Row(grid, node.operation.source(rows[index].shift, grid))
        return cls(plan, target, tuple(sorted(rows)), rows)

    def masks(self) -> dict[int, Any]:
        """What depends on the diagonal alone, for every operation."""
        return {i: self._operation(i).masks(self.rows[i], self._below(i)) for i in self._inner()}

    def contributions(self, maps: Maps, side: Side) -> dict[int, Any]:
        """What the images of one side contribute to their pairs, for every node."""
        result: dict[int, Any] = {}
        for i in self.order:
            if is_source(self.plan, i):
                own = self._of_source(i, maps[i], side)
            else:
                step, variance = self.plan.step(i), maps[self.plan.nodes[i].inputs[0]].variance
                given = variance if step.in_distances or self._operation(i).needs_distance else None
                own = self._operation(i).image(given, side, self.rows[i], self._below(i), step)
            seen = {
                j: side.see(maps[j].variance, self.rows[j].shift)
                for j in self.plan.nodes[i].inputs
                if j in self.rows and self.plan.is_converted(i, j)
            }
            result[i] = own, seen
        return result

    def pairs(
        self, stores: Stores, masks: Any, first: Any, second: Any, same: Array | None
    ) -> Pairs:
        """The diagonal of the target, of the pairs of these images.

        `same` tells which pairs are of one image with itself (None: not known to be).
        """
        made: dict[int, Pairs] = {}
        runs = find_runs(self)
        position = 0
        while position < len(self.order):
            i = self.order[position]
            if position in runs:
                period, count = runs[position]
                (source,) = self.plan.nodes[i].inputs
                last = self.order[position + period * count - 1]
                made[last] = self._run(position, period, count, made[source], masks, first, second)
                position += period * count
                continue
            if is_source(self.plan, i):
                made[i] = self._load(i, stores, first[i][0], second[i][0], same)
            else:
                given = tuple(
                    self._converted(made[j], i, j, first[i][1], second[i][1])
                    for j in self.plan.nodes[i].inputs
                )
                made[i] = self._apply(i, self._operation(i), given, masks[i], first[i], second[i])
            position += 1
        return made[self.target]

    def _apply(
        self, i: int, operation: RowOperation, given: tuple, masks: Any, first: Any, second: Any
    ) -> Pairs:
        pairs = operation.pair(given, masks, first[0], second[0], self.plan.step(i))
        # Without this, XLA would make a layer anew inside each of its consumers.
        return lax.optimization_barrier(pairs) if operation.gives_distance else pairs

    def _run(
        self, start: int, period: int, count: int, pairs: Pairs, masks: Any, first: Any, second: Any
    ) -> Pairs:
        """`count` repetitions of `period` operations, as a loop."""
        block = self.order[start : start + period]

        def stacked(of: Callable[[int], Any]) -> list[Any]:
            """For each operation of the block, its `count` instances along a new axis."""
            return [
                jax.tree.map(
                    lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]),
                    *(of(self.order[start + r * period + k]) for r in range(count)),
                )
                for k in range(period)
            ]

        parts = (
            stacked(self._operation),
            stacked(lambda i: first[i]),
            stacked(lambda i: second[i]),
        )

        def body(pairs: Pairs, part: Any) -> tuple[Pairs, None]:
            for i, operation, one, two in zip(block, *part, strict=True):
                pairs = self._apply(i, operation, (pairs,), masks[i], one, two)
            return pairs, None

        return lax.scan(jax.checkpoint(body), pairs, parts)[0]

    def _inner(self) -> list[int]:
        return [i for i in self.order if not is_source(self.plan, i)]

    def _operation(self, i: int) -> RowOperation:
        operation = self.plan.nodes[i].operation
        assert isinstance(operation, RowOperation)
        return operation

    def _below(self, i: int) -> Row:
        return self.rows[self.plan.nodes[i].inputs[0]]

    def _converted(self, pairs: Pairs, i: int, j: int, first: Any, second: Any) -> Pairs:
        """What consumer i takes of its input j: covariances, where j holds distances it need not."""
        if not self.plan.is_converted(i, j):
            return pairs
        return Pairs(covariance(first[j], second[j], pairs.moment), pairs.ntk)

    def _of_source(self, i: int, maps: ImageMaps, side: Side) -> Any:
        """What the images contribute where a segment starts."""
        shift = self.rows[i].shift
        if maps.images is not None:
            return jax.vmap(lambda channel: side.see(channel, shift))(maps.images)
        if maps.energy is None:
            return None
        operation = self.plan.nodes[i].operation
        assert isinstance(operation, MixingOperation)
        step = self.plan.step(i)
        mass = jnp.asarray(operation.mass(step.below, step.here), maps.energy.dtype)
        mass = mass.reshape(mass.shape + (1,) * (maps.energy.ndim - mass.ndim))
        return side.see((maps.energy, maps.mean, jnp.broadcast_to(mass, maps.energy.shape)), shift)

    def _load(self, i: int, stores: Stores, first: Any, second: Any, same: Array | None) -> Pairs:
        """One diagonal of a node that is held on several, or of an input."""
        step, row = self.plan.step(i), self.rows[i]
        if i not in stores:
            term = squared_distance if step.in_distances else jnp.multiply
            moment = mean_over_channels(term, first, second)
            return Pairs(moment, jnp.zeros_like(moment) if step.ntk else None)
        index = self.plan.held[i].cross.row_index(row.shift)
        pairs = stores[i].map(lambda array: array[index])
        if first is None:
            return pairs
        (e1, m1, mass1), (e2, m2, mass2) = first, second
        distance = pairs.moment - e1 - e2 + (mass1 - mass2) * (m1 - m2)
        distance = jnp.maximum(distance, 0.0)
        if same is not None:
            zero = jnp.all(jnp.array([d == 0 for d in row.shift], bool))
            distance = jnp.where(same & zero, 0.0, distance)
        return Pairs(distance, pairs.ntk)


def find_runs(segment: Segment) -> dict[int, tuple[int, int]]:
    """Repetitions worth a loop: {place in the order: (operations in a repetition, repetitions)}."""
    order, plan = segment.order, segment.plan
    consumers: dict[int, int] = {}
    for i in order:
        for j in plan.nodes[i].inputs if not is_source(plan, i) else ():
            consumers[j] = consumers.get(j, 0) + 1
    kinds = [_kind(segment, place, consumers) for place in range(len(order))]
    runs: dict[int, tuple[int, int]] = {}
    place = 0
    while place < len(order):
        best = (0, 0)
        for period in range(1, (len(order) - place) // 2 + 1):
            block = kinds[place : place + period]
            if None in block:
                break
            count = 1
            while kinds[place + count * period : place + (count + 1) * period] == block:
                count += 1
            if count > 1 and period * count > best[0] * best[1]:
                best = period, count
        if best[1]:
            runs[place] = best
        place += max(best[0] * best[1], 1)
    return runs


def _kind(segment: Segment, place: int, consumers: dict[int, int]) -> Any:
    """What must agree for two operations to be the same body of a loop; None for no loop."""
    plan, i = segment.plan, segment.order[place]
    if is_source(plan, i) or place == 0:
        return None
    node, previous = plan.nodes[i], segment.order[place - 1]
    chained = node.inputs == (previous,) and consumers.get(previous) == 1
    if not chained or segment._below(i) != segment.rows[i] or plan.is_converted(i, previous):
        return None
    step: Step = plan.step(i)
    leaves, structure = jax.tree.flatten(node.operation)
    types = tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
    geometry = step.below.sizes, step.below.periods, step.here.sizes, step.here.periods
    return structure, types, geometry, step.in_distances, step.signal.channels
