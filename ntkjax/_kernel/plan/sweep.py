"""Sweeps: which diagonals are made together, one after the other, for all that collect them.

A collector (a pool, an operation on whole kernels, an output) is handed diagonals of its input. Two
collectors that are handed the same diagonals, and stand on the same stored nodes, share a sweep, so
that the layers below both, a trunk with several outputs, are made once. So do those that are handed
equal positions alone, whatever the resolution.
"""

import dataclasses
from collections.abc import Container
from typing import Any

from ntkjax._kernel.algebra.diagonals import Diagonals
from ntkjax._kernel.plan.plan import Plan


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Diagonals that are made one after the other.

    Attributes:
      collectors: the nodes that collect them.
      rows: the diagonals, of their inputs.
      groups: how many neighbours along each axis are made together.
    """

    collectors: tuple[int, ...]
    rows: Diagonals
    groups: tuple[int, ...]

    def targets(self, plan: Plan) -> tuple[int, ...]:
        """The nodes whose diagonals these are, each once."""
        return tuple(dict.fromkeys(plan.nodes[i].inputs[0] for i in self.collectors))


def sweep_of(plan: Plan, collector: int, images: int) -> Sweep:
    """The sweep of one collector, where the second lanes hold so many images."""
    operation: Any = plan.nodes[collector].operation
    here = plan.places[collector].cross
    rows = plan.given_rows(collector, here)
    return Sweep((collector,), rows, operation.groups(rows, here, images))


def find_sweeps(plan: Plan, images: int, known: Container[int] = ()) -> list[Sweep]:
    """The sweeps of a plan, in the order in which to make them, but for collectors made already."""
    found: dict[tuple, Sweep] = {}
    for i in (*plan.collectors, *plan.outputs):
        if i in known:
            continue
        sweep = sweep_of(plan, i, images)
        equal = sweep.rows == sweep.rows.zero()
        key = None if equal else (sweep.rows, sweep.groups), _sources(plan, i)
        if key in found:
            sweep = dataclasses.replace(found[key], collectors=(*found[key].collectors, i))
        found[key] = sweep
    return sorted(found.values(), key=lambda sweep: sweep.collectors[0])


def _sources(plan: Plan, collector: int) -> frozenset[int]:
    """The stored nodes from which a collector's diagonals are made."""
    found: set[int] = set()
    waiting = list(plan.nodes[collector].inputs)
    seen = set(waiting)
    while waiting:
        i = waiting.pop()
        if plan.is_source(i):
            found.add(i)
            continue
        more = set(plan.nodes[i].inputs) - seen
        seen |= more
        waiting.extend(more)
    return frozenset(found)
