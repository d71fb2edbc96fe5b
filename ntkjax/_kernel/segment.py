"""Segments: the operations between two places where diagonals mix.

Within a segment every diagonal is made of one diagonal below, so that the whole stack of layers
runs on one diagonal, while it lies in the cache. What depends on single images or on the diagonal
alone is made first, for all pairs that share it; a run of equal blocks is a loop (`runs.py`).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.boundary import materialized
from ntkjax._kernel.diagonals import Shift
from ntkjax._kernel.inputs import mean_over_channels, squared_distance
from ntkjax._kernel.operation import RowOperation
from ntkjax._kernel.plan import Plan
from ntkjax._kernel.runs import Run, find_runs
from ntkjax._kernel.state import NO_HALO, Halo, Pairs, Row, Side, covariance, ringed


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ImageMaps:
    """What is known of single images at one place: maps `[position per axis ..., *lanes]`.

    In a run, the maps of its block have the repetitions in front.

    Attributes:
      variance: K[p, p]; None in covariance form and inside runs.
      images: the inputs themselves, channels in front; only at inputs.
      mixing: e, m and A of a mixing operation; only in distance form.
      operation: what the operation of the place needs of its input.
    """

    variance: Array | None = None
    images: Array | None = None
    mixing: tuple[Array, Array, Array] | None = None
    operation: Any = None


Maps = dict[int, ImageMaps]
Stores = dict[int, Pairs]
#: For each node, what its operation needs of an image, and the variances of inputs it converts.
Contributions = dict[int, tuple[Any, dict[int, Array]]]


def is_source(plan: Plan, index: int) -> bool:
    """Whether a node starts a segment: an input, or held on several diagonals at once."""
    return not isinstance(plan.nodes[index].operation, RowOperation)


@dataclasses.dataclass(frozen=True)
class Segment:
    """The nodes that make one diagonal of a target.

    Attributes:
      plan: the plan of the network.
      target: the node to make.
      rows: the diagonal of every node of the segment.
      runs: its runs, by their first node.
    """

    plan: Plan
    target: int
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
        runs = {i: run for i, run in find_runs(plan).items() if run.last in rows}
        return cls(plan, target, rows, runs)

    @property
    def order(self) -> list[int]:
        """Its nodes, before their consumers; of a run the first block alone."""
        repeated = {i for run in self.runs.values() for i in range(run.block[-1] + 1, run.last + 1)}
        return [i for i in sorted(self.rows) if i not in repeated]

    def masks(self) -> dict[int, Any]:
        """What depends on the diagonal alone, for every operation; equal ones are made once."""
        made: dict[Any, Any] = {}
        result: dict[int, Any] = {}
        for i in self.order:
            if is_source(self.plan, i):
                continue
            operation, rows = self._operation(i), (self.rows[i], self._below(i))
            geometry = [(r.grid.sizes, r.grid.periods, tuple(map(id, r.shift))) for r in rows]
            key = (type(operation), getattr(operation, "windows", None), *geometry)
            if key not in made:
                made[key] = operation.masks(*rows)
            result[i] = made[key]
        return result

    def contributions(self, maps: Maps, masks: dict[int, Any], side: Side) -> Contributions:
        """What the images of one side contribute to their pairs, for every node."""
        repeated = {i for run in self.runs.values() for i in run.block}
        result: Contributions = {}
        for i in self.order:
            row, of_node = self.rows[i], maps[i]
            if of_node.images is not None:
                see = lambda channel, row=row: side.see(channel, row)  # noqa: E731
                result[i] = jax.vmap(see)(of_node.images), {}
            elif is_source(self.plan, i):
                result[i] = side.see(of_node.mixing, row), {}
            else:
                image = lambda maps, i=i, row=row: self._operation(i).image(  # noqa: E731
                    maps, masks[i], side, row, self._below(i), self.plan.step(i)
                )
                if i in repeated and of_node.operation is not None:
                    image = jax.vmap(image)
                own = image(of_node.operation)
                result[i] = (
                    own,
                    {
                        j: side.see(maps[j].variance, self.rows[j], self._halo(i, j))
                        for j in self.plan.nodes[i].inputs
                        if self._changes(i, j)
                    },
                )
        return result

    def loaded(self, stores: Stores) -> Stores:
        """The diagonals of the nodes where the segment starts, of those held on several."""
        return {
            i: stores[i].map(lambda array, i=i: array[self._index(i)])
            for i in self.rows
            if i in stores and is_source(self.plan, i)
        }

    def _index(self, i: int) -> int | Array:
        return self.plan.held[i].cross.row_index(self.rows[i].shift)

    def pairs(
        self,
        loaded: Stores,
        masks: Any,
        first: Contributions,
        second: Contributions,
        same: Array | None,
    ) -> Pairs:
        """The diagonal of the target, of the pairs of these images.

        `same` tells which pairs are of one image with itself (None: not known to be).
        """
        operations = {i: self.plan.nodes[i].operation for i in self.order}
        inside = {i for run in self.runs.values() for i in run.block}
        made: dict[int, Pairs] = {}
        waiting: list[int] = []
        for i in self.order:
            if is_source(self.plan, i):
                made[i] = self._load(i, loaded, first[i][0], second[i][0], same)
            elif i in self.runs:
                run = self.runs[i]
                made[run.last] = self._pairs_of_run(run, made[run.entry], masks, first, second)
            elif i not in inside:
                waiting.append(i)
                if self._is_kept(i):
                    nodes = self._ancestors(i, waiting)
                    made[i] = self._make(nodes, operations, made, masks, first, second)
                    waiting = [j for j in waiting if j not in nodes]
        return made[self.target]

    def _ancestors(self, i: int, among: list[int]) -> list[int]:
        """The nodes, of some, that node i is made of, itself included."""
        found = {i}
        for j in reversed(among):
            if j in found:
                found |= {k for k in self.plan.nodes[j].inputs if k in among}
        return sorted(found)

    def _is_kept(self, i: int) -> bool:
        """Whether a node is stored: for several consumers, a window that reads it, or a loop."""
        held = self.plan.held[i]
        consumers = [c for c in self.plan.consumers[i] if c in self.rows]
        windowed = held.halo != NO_HALO * held.cross.ndim
        return i == self.target or windowed or len(consumers) != 1 or consumers[0] in self.runs

    def _make(
        self,
        nodes: list[int],
        operations: dict[int, Any],
        made: dict[int, Pairs],
        masks: Any,
        first: Contributions,
        second: Contributions,
    ) -> Pairs:
        """The last of some nodes, of what is made already, and stored."""
        given = {j: made[j] for i in nodes for j in self.plan.nodes[i].inputs if j in made}
        pick = lambda parts: {i: parts[i] for i in nodes}  # noqa: E731
        parts = pick(operations), given, pick(masks), pick(first), pick(second)

        def fn(parts: Any) -> Pairs:
            return self._fused(nodes, *parts)

        return materialized(fn, parts)

    def _fused(
        self,
        nodes: list[int],
        operations: dict[int, Any],
        made: dict[int, Pairs],
        masks: Any,
        first: Contributions,
        second: Contributions,
    ) -> Pairs:
        """The last of some nodes, without storing those before it."""
        made = dict(made)
        for i in nodes:
            step = self.plan.step(i)
            (one, of_first), (two, of_second) = first[i], second[i]
            given = tuple(
                self._taken(made[j], i, j, of_first, of_second) for j in self.plan.nodes[i].inputs
            )
            made[i] = self._with_halo(operations[i].pair(given, masks[i], one, two, step), i)
        return made[nodes[-1]]

    def _pairs_of_run(
        self, run: Run, pairs: Pairs, masks: Any, first: Contributions, second: Contributions
    ) -> Pairs:
        """All repetitions of a run, as a loop, which stores what it carries."""
        operations = run.operations(self.plan, pairs.moment.dtype)
        end = run.block[-1]

        def body(pairs: Pairs, parts: Any) -> tuple[Pairs, None]:
            made = {run.entry: pairs}
            waiting: list[int] = []
            for i in run.block:
                waiting.append(i)
                if i == end:
                    return self._fused(waiting, parts[0], made, masks, *parts[1:]), None
                if self._is_kept(i):
                    nodes = self._ancestors(i, waiting)
                    made[i] = self._make(nodes, parts[0], made, masks, *parts[1:])
                    waiting = [j for j in waiting if j not in nodes]
            raise AssertionError("a run has an end")

        pick = lambda parts: {i: parts[i] for i in run.block}  # noqa: E731
        parts = operations, pick(first), pick(second)
        pairs, _ = lax.scan(jax.checkpoint(body), pairs, parts)
        if self.plan.form(end) == self.plan.form(run.last):
            return pairs

        def last(pairs: Pairs) -> Pairs:
            plain = cropped(self.plan, end, pairs, NO_HALO * self.rows[end].grid.ndim)
            return self._with_halo(plain, run.last)

        return materialized(last, pairs)

    def _operation(self, i: int) -> RowOperation:
        operation = self.plan.nodes[i].operation
        assert isinstance(operation, RowOperation)
        return operation

    def _below(self, i: int) -> Row:
        return self.rows[self.plan.nodes[i].inputs[0]]

    def _halo(self, i: int, j: int) -> Halo:
        """What consumer i reads of its input j beyond its ends."""
        return self._operation(i).halo(self.plan.held[j].cross, self.plan.held[i].cross)

    def _changes(self, i: int, j: int) -> bool:
        """Whether consumer i needs the variances of its input j to take it."""
        return self.plan.is_converted(i, j) or self.plan.is_resolved(i, j)

    def _with_halo(self, pairs: Pairs, i: int) -> Pairs:
        """A row with the entries beyond its ends that its consumers read."""
        held = self.plan.held[i]

        def pad(array: Array) -> Array:
            if held.is_ring:
                return ringed(array, held.cross.periods, held.halo)
            wide = [*held.halo, *[(0, 0)] * (array.ndim - len(held.halo))]
            return jnp.pad(array, wide) if any(map(any, held.halo)) else array

        return pairs.map(pad)

    def _taken(self, pairs: Pairs, i: int, j: int, first: Any, second: Any) -> Pairs:
        """What consumer i takes of its input j."""
        pairs = cropped(self.plan, j, pairs, self._halo(i, j))
        if not self._changes(i, j):
            return pairs
        return resolved(self.plan, i, j, pairs, first[j], second[j])

    def _load(self, i: int, loaded: Stores, first: Any, second: Any, same: Array | None) -> Pairs:
        """One diagonal of a node where the segment starts."""
        step, shift = self.plan.step(i), self.rows[i].shift

        def fn(parts: Any) -> Pairs:
            pairs, first, second, same = parts
            if pairs is None:
                term = squared_distance if step.in_distances else jnp.multiply
                moment = mean_over_channels(term, first, second)
                pairs = Pairs(moment, jnp.zeros_like(moment) if step.ntk else None)
            elif first is not None:
                pairs = _after_mixing(pairs, first, second, same, shift)
            return self._with_halo(pairs, i)

        parts = loaded.get(i), first, second, same
        if not self._is_kept(i):
            return fn(parts)
        return materialized(fn, parts)


def cropped(plan: Plan, i: int, pairs: Pairs, halo: Halo) -> Pairs:
    """Rows of node i with no more than the given halo."""
    held = plan.held[i]
    crop = tuple(
        slice(low - a, low + period + b)
        for (low, _), (a, b), period in zip(held.halo, halo, held.cross.periods, strict=True)
    )
    return pairs.map(lambda array: array[crop])


def resolved(plan: Plan, i: int, j: int, pairs: Pairs, first: Array, second: Array) -> Pairs:
    """What consumer i takes of its input j, where it asks for covariances or whole tangents."""
    cov = covariance(first, second, pairs.moment)
    ntk = pairs.ntk
    if ntk is not None and plan.is_resolved(i, j):
        ntk = ntk + cov
    return Pairs(cov if plan.is_converted(i, j) else pairs.moment, ntk)


def _after_mixing(pairs: Pairs, first: Any, second: Any, same: Array | None, shift: Shift) -> Pairs:
    """Distances, of what a mixing operation has summed (see `operations/mixing.py`)."""
    (e1, m1, mass1), (e2, m2, mass2) = first, second
    distance = pairs.moment - e1 - e2 + (mass1 - mass2) * (m1 - m2)
    distance = jnp.maximum(distance, 0.0)
    if same is not None:
        zero = jnp.all(jnp.array([d == 0 for d in shift], bool))
        distance = jnp.where(same & zero, 0.0, distance)
    return Pairs(distance, pairs.ntk)
