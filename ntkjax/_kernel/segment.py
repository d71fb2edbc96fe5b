"""Segments: the operations between two places where diagonals mix.

Within a segment every diagonal is made of one diagonal below, so that the whole stack of layers
runs on one diagonal, while it lies in the cache. What depends on single images or on the diagonal
alone is made first, for all pairs that share it; a run of equal layers is a loop (`runs.py`).
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.diagonals import Shift
from ntkjax._kernel.inputs import mean_over_channels, squared_distance
from ntkjax._kernel.operation import MixingOperation, RowOperation
from ntkjax._kernel.plan import Plan
from ntkjax._kernel.runs import Run, find_runs
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
      run: at the first node of a run, the variances before each operation of a repetition, with
        the repetitions in front.
    """

    variance: Array | None = None
    images: Array | None = None
    mean: Array | None = None
    energy: Array | None = None
    run: tuple[Array, ...] | None = None


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
    runs: dict[int, Run]

    @classmethod
    def below(cls, plan: Plan, target: int, shift: Shift) -> "Segment":
        """The segment that ends in `target`, at one of its diagonals."""
        rows = {target: Row(plan.held[target].cross, shift)}
        for index in range(target, -1, -1):
            if index in rows and not is_source(plan, index):
                operation = plan.nodes[index].operation
                assert isinstance(operation, RowOperation)
                for j in plan.nodes[index].inputs:
                    grid = plan.held[j].cross
                    rows[j] = Row(grid, operation.source(rows[index].shift, grid))
        runs = {i: run for i, run in find_runs(plan).items() if i in rows}
        inside = {i for run in runs.values() for i in range(run.start + 1, run.last + 1)}
        order = tuple(i for i in sorted(rows) if i not in inside)
        return cls(plan, target, order, rows, runs)

    def masks(self) -> dict[int, Any]:
        """What depends on the diagonal alone, for every operation."""
        inner = [i for i in self.order if not is_source(self.plan, i)]
        nodes = [i for start in inner for i in self._block(start)]
        return {i: self._operation(i).masks(self.rows[i], self._below(i)) for i in nodes}

    def contributions(self, maps: Maps, side: Side) -> dict[int, Any]:
        """What the images of one side contribute to their pairs, for every node."""
        result: dict[int, Any] = {}
        for i in self.order:
            if is_source(self.plan, i):
                result[i] = self._of_source(i, maps[i], side), {}
                continue
            if i in self.runs:
                result[i] = self._of_run(self.runs[i], maps[i], side)
                continue
            step, inputs = self.plan.step(i), self.plan.nodes[i].inputs
            operation = self._operation(i)
            given = step.in_distances or operation.needs_distance
            variance = maps[inputs[0]].variance if given else None
            own = operation.image(variance, side, self.rows[i], self._below(i), step)
            seen = {
                j: side.see(maps[j].variance, self.rows[j].shift)
                for j in inputs
                if self.plan.is_converted(i, j)
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
        for i in self.order:
            if is_source(self.plan, i):
                made[i] = self._load(i, stores, first[i][0], second[i][0], same)
                continue
            inputs = self.plan.nodes[i].inputs
            if i in self.runs:
                run = self.runs[i]
                made[run.last] = self._pairs_of_run(
                    run, made[inputs[0]], masks, first[i], second[i]
                )
                continue
            given = tuple(self._converted(made[j], i, j, first[i][1], second[i][1]) for j in inputs)
            made[i] = self._apply(i, self._operation(i), given, masks[i], first[i][0], second[i][0])
        return made[self.target]

    def _apply(
        self, i: int, operation: RowOperation, given: tuple, masks: Any, first: Any, second: Any
    ) -> Pairs:
        pairs = operation.pair(given, masks, first, second, self.plan.step(i))
        # Without this, XLA would make a layer anew inside each of its consumers.
        return lax.optimization_barrier(pairs) if operation.gives_distance else pairs

    def _of_run(self, run: Run, maps: ImageMaps, side: Side) -> list[Any]:
        """What images contribute to each operation of a run, repetitions in front."""
        assert maps.run is not None
        operations = run.operations(self.plan, maps.run[0].dtype)

        def image(i: int, operation: RowOperation, variance: Array) -> Any:
            return operation.image(variance, side, self.rows[i], self._below(i), self.plan.step(i))

        return [
            jax.vmap(functools.partial(image, i))(operation, variances)
            for i, operation, variances in zip(run.block, operations, maps.run, strict=True)
        ]

    def _pairs_of_run(self, run: Run, pairs: Pairs, masks: Any, first: Any, second: Any) -> Pairs:
        """All repetitions of a run, as a loop."""
        operations = run.operations(self.plan, pairs.moment.dtype)

        def body(pairs: Pairs, parts: Any) -> tuple[Pairs, None]:
            for i, operation, one, two in zip(run.block, *parts, strict=True):
                pairs = self._apply(i, operation, (pairs,), masks[i], one, two)
            return pairs, None

        return lax.scan(jax.checkpoint(body), pairs, (operations, first, second))[0]

    def _block(self, start: int) -> Any:
        """The operations that stand for those of a node: itself, or a repetition of its run."""
        return self.runs[start].block if start in self.runs else (start,)

    def _operation(self, i: int) -> RowOperation:
        operation = self.plan.nodes[i].operation
        assert isinstance(operation, RowOperation)
        return operation

    def _below(self, i: int) -> Row:
        return self.rows[self.plan.nodes[i].inputs[0]]

    def _converted(self, pairs: Pairs, i: int, j: int, first: Any, second: Any) -> Pairs:
        """What consumer i takes of its input j: covariances, unless it asks for distances."""
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
