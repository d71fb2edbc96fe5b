"""Segments: the operations between two places where diagonals mix.

Within a segment every diagonal is made of one diagonal below, so that the whole stack of layers
runs on one diagonal, while it lies in the cache. What depends on single images or on the diagonal
alone is made first, for all pairs that share it (`contributions.py`); then the pairs (`pairs.py`),
in which a run of equal blocks is a loop (`runs.py`).
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ntkjax._kernel.algebra.diagonals import Shift
from ntkjax._kernel.algebra.operation import RowOperation
from ntkjax._kernel.algebra.state import NO_HALO, Halo, Row
from ntkjax._kernel.plan.plan import Plan
from ntkjax._kernel.plan.runs import Run, find_runs


@dataclasses.dataclass(frozen=True, eq=False)
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
    def to(cls, plan: Plan, target: int, shift: Shift) -> "Segment":
        """The segment that ends in `target`, at one of its diagonals (or arrays of them)."""
        rows = {target: Row(plan.held[target].cross, shift)}
        for index in range(target, -1, -1):
            operation = plan.nodes[index].operation
            if index in rows and isinstance(operation, RowOperation):
                for j in plan.nodes[index].inputs:
                    grid = plan.held[j].cross
                    rows[j] = Row(grid, operation.source(rows[index].shift, grid))
        runs = {i: run for i, run in find_runs(plan).items() if run.last in rows}
        return cls(plan, target, rows, runs)

    @functools.cached_property
    def order(self) -> list[int]:
        """Its nodes, before their consumers; of a run the first block alone."""
        later = {i for run in self.runs.values() for i in range(run.block[-1] + 1, run.last + 1)}
        return [i for i in sorted(self.rows) if i not in later]

    @functools.cached_property
    def repeated(self) -> frozenset[int]:
        """The nodes of the first blocks of runs."""
        return frozenset(i for run in self.runs.values() for i in run.block)

    def is_source(self, i: int) -> bool:
        """Whether a node starts a segment: an input, or held on several diagonals at once."""
        return not isinstance(self.plan.nodes[i].operation, RowOperation)

    def operation(self, i: int) -> RowOperation:
        """The operation of a node that is no source."""
        operation = self.plan.nodes[i].operation
        assert isinstance(operation, RowOperation)
        return operation

    def below(self, i: int) -> Row:
        """The diagonal of the (first) input of a node."""
        return self.rows[self.plan.nodes[i].inputs[0]]

    def halo(self, i: int, j: int) -> Halo:
        """What consumer i reads of its input j beyond its ends."""
        return self.operation(i).halo(self.plan.held[j].cross, self.plan.held[i].cross)

    def changes(self, i: int, j: int) -> bool:
        """Whether consumer i needs the variances of its input j to take it."""
        return self.plan.is_converted(i, j) or self.plan.is_resolved(i, j)

    def consumers(self, i: int) -> list[int]:
        """The nodes of the segment that take a node; twice, one that takes it twice."""
        return [c for c in self.plan.consumers[i] if c in self.rows]

    def is_kept(self, i: int) -> bool:
        """Whether a node is stored: for several consumers, a window that reads it, or a loop.

        So is what is costly to make: XLA might make it again for each of its consumer's results.
        """
        held, operation = self.plan.held[i], self.plan.nodes[i].operation
        consumers = self.consumers(i)
        windowed = held.halo != NO_HALO * held.cross.ndim
        costly = isinstance(operation, RowOperation) and operation.is_costly
        read_once = len(consumers) == 1 and consumers[0] not in self.runs
        return i == self.target or windowed or costly or not read_once

    def groups(self, nodes: Sequence[int]) -> list[list[int]]:
        """Of some nodes in order, those that are made together: each group ends in a kept one."""
        groups, waiting = list[list[int]](), list[int]()
        for i in nodes:
            waiting.append(i)
            if self.is_kept(i):
                groups.append(self.ancestors(i, waiting))
                waiting = [j for j in waiting if j not in groups[-1]]
        return groups

    def ancestors(self, i: int, among: Sequence[int]) -> list[int]:
        """The nodes, of some, that node i is made of, itself included."""
        found = {i}
        for j in reversed(among):
            if j in found:
                found |= {k for k in self.plan.nodes[j].inputs if k in among}
        return sorted(found)

    def likeness(self, i: int) -> Any:
        """What two nodes have in common whose masks are equal, and what they make of them."""
        operation = self.operation(i)
        rows = self.rows[i], self.below(i)
        geometry = ((r.grid.sizes, r.grid.periods, *map(_identity, r.shift)) for r in rows)
        return type(operation), getattr(operation, "windows", None), *geometry

    def masks(self) -> dict[int, Any]:
        """What depends on the diagonal alone, for every operation; equal ones are made once."""
        made: dict[Any, Any] = {}
        likeness = {i: self.likeness(i) for i in self.order if not self.is_source(i)}
        for i, kind in likeness.items():
            if kind not in made:
                made[kind] = self.operation(i).masks(self.rows[i], self.below(i))
        return {i: made[kind] for i, kind in likeness.items()}


def _identity(shift: Any) -> Any:
    """Of a displacement: itself, those of an array, or which traced value it is."""
    if isinstance(shift, np.ndarray):
        return shift.tobytes()
    return shift if isinstance(shift, int) else id(shift)
