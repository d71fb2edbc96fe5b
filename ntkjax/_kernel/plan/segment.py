"""Segments: the operations between two places where diagonals mix.

Within a segment every diagonal is made of one diagonal below, so that the whole stack of layers
runs on one diagonal, while it lies in the cache. What depends on single images or on the diagonal
alone is made first, for all pairs that share it (`contributions.py`); then the pairs (`pairs.py`),
in which a run of equal blocks is a loop (`runs.py`).

Of [Conv, stride 2 | Relu | global pool] on an axis of eight positions, the segment that ends below
the pool at displacement 3 of four output positions starts at displacement 6 of the input:

    input: 6  ->  tap sum: 3  ->  affine map: 3  ->  Relu: 3.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ntkjax._kernel.algebra.diagonals import Shift
from ntkjax._kernel.algebra.operation import Operation, Step
from ntkjax._kernel.algebra.sides import NO_HALO, Halo, Row
from ntkjax._kernel.plan.plan import Plan
from ntkjax._kernel.plan.runs import Run, find_runs


@dataclasses.dataclass(frozen=True, eq=False)
class Segment:
    """The nodes that make one diagonal of some targets.

    Attributes:
      plan: the plan of the network.
      targets: the nodes to make.
      rows: the diagonal of every node of the segment.
      runs: its runs, by their first node.
    """

    plan: Plan
    targets: tuple[int, ...]
    rows: dict[int, Row]
    runs: dict[int, Run]

    @classmethod
    def to(cls, plan: Plan, targets: tuple[int, ...], shift: Shift) -> "Segment":
        """The segment that ends in `targets`, at one of their diagonals (or arrays of them).

        Targets of several geometries share equal positions alone.
        """
        grids = {i: plan.places[i].cross for i in targets}
        rows = {i: Row(g, shift if g.ndim == len(shift) else (0,) * g.ndim)
                for i, g in grids.items()}  # fmt: skip
        for index in range(max(targets), -1, -1):
            if index in rows and not plan.is_source(index):
                operation: Any = plan.nodes[index].operation
                for j in plan.nodes[index].inputs:
                    grid = plan.places[j].cross
                    rows[j] = Row(grid, operation.source(rows[index].shift, grid))
        runs = {i: run for i, run in find_runs(plan).items() if run.last in rows}
        return cls(plan, targets, rows, runs)

    @functools.cached_property
    def order(self) -> list[int]:
        """Its nodes, each before its consumers; of a run, those of the first block alone."""
        later = {i for run in self.runs.values() for i in range(run.block[-1] + 1, run.last + 1)}
        return [i for i in sorted(self.rows) if i not in later]

    @functools.cached_property
    def repeated(self) -> frozenset[int]:
        """The nodes of the first blocks of runs."""
        return frozenset(i for run in self.runs.values() for i in run.block)

    def is_source(self, i: int) -> bool:
        """Whether the segment starts at a node."""
        return self.plan.is_source(i)

    def operation(self, i: int) -> Operation:
        """The operation of a node."""
        return self.plan.nodes[i].operation

    def step(self, i: int) -> Step:
        """What the operation of a node is told."""
        return self.plan.steps[i]

    def below(self, i: int) -> Row | None:
        """The diagonal of the (first) input of a node; None where the segment starts."""
        return None if self.is_source(i) else self.rows[self.plan.nodes[i].inputs[0]]

    def halo(self, i: int, j: int) -> Halo:
        """How many entries consumer i reads beyond the ends of a row of its input j."""
        return self.operation(i).halo(self.plan.places[j].cross, self.plan.places[i].cross)

    def maps_row(self, i: int) -> tuple[Row, Halo]:
        """The row on which the maps of a node are seen, and their halo."""
        below = self.below(i)
        if below is None or self.operation(i).maps_output:
            row = self.rows[i]
            return row, NO_HALO * row.grid.ndim
        return below, self.halo(i, self.plan.nodes[i].inputs[0])

    def map_axes(self, i: int) -> int:
        """How many axes a map of a node has before its positions."""
        return self.operation(i).map_axes + int(i in self.repeated)

    def consumers(self, i: int) -> list[int]:
        """The nodes of the segment that take a node; twice, one that takes it twice."""
        return [c for c in self.plan.consumers[i] if c in self.rows and not self.is_source(c)]

    def is_kept(self, i: int) -> bool:
        """Whether a node is stored: for several consumers, a window that reads it, or a loop.

        So is what is costly to make: XLA might make it again for each of its consumer's results.
        """
        place = self.plan.places[i]
        consumers = self.consumers(i)
        windowed = place.halo != NO_HALO * place.cross.ndim
        costly = not self.is_source(i) and self.operation(i).is_costly
        read_once = len(consumers) == 1 and consumers[0] not in self.runs
        return i in self.targets or windowed or costly or not read_once

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
            if j in found and not self.is_source(j):
                found |= {k for k in self.plan.nodes[j].inputs if k in among}
        return sorted(found)

    def supplement(self, i: int) -> list[int]:
        """The nodes from the inputs to node i through which E (g + g')^2 can be carried.

        Empty where it cannot, or where node i has no use for it.
        """
        if not self.operation(i).takes_supplement or self.step(i).signal.is_nonnegative:
            return []
        found = set(self.plan.nodes[i].inputs)
        for j in range(i - 1, -1, -1):
            if j in found and not self.is_source(j):
                found |= set(self.plan.nodes[j].inputs)
        inside = all(self.operation(j).carries_supplement and j in self.order for j in found)
        return sorted(found) if inside and not found & self.repeated else []

    def key(self, i: int) -> Any:
        """All that the masks of a node, and what it makes of them, depend on.

        The operation with every static field, which of its numbers are which, what the planner
        decided, and the diagonals.
        """
        numbers, structure = jax.tree.flatten(self.operation(i))
        rows = [self.rows[i], *([] if (below := self.below(i)) is None else [below])]
        diagonals = tuple((row.grid, *map(_identity, row.shift)) for row in rows)
        return structure, tuple(map(id, numbers)), self.step(i), diagonals

    def masks(self) -> dict[int, Any]:
        """What depends on the diagonal alone, for every operation; equal ones are made once."""
        made: dict[Any, Any] = {}
        keys = {i: self.key(i) for i in self.order}
        for i, key in keys.items():
            if key not in made:
                made[key] = self.operation(i).masks(self.rows[i], self.below(i), self.step(i))
        return {i: made[key] for i, key in keys.items()}


def _identity(shift: Any) -> Any:
    """Of a displacement: itself, those of an array, or which traced value it is."""
    if isinstance(shift, np.ndarray):
        return shift.tobytes()
    return shift if isinstance(shift, int) else id(shift)
