"""Which period the diagonals have at each place of a network.

A window of stride s wants its input period to be s times its output period, a ring wants its period
to be its size, and branches that meet want the same. All places that such wishes connect share one
unknown, the base; each has a fixed ratio to it. Where the wishes contradict each other, a change of
period (`Reperiod`) is put in between.
"""

import dataclasses
import math
from fractions import Fraction

from ntkjax._kernel.algebra.graph import Graph, Node
from ntkjax._kernel.algebra.window import Window
from ntkjax._kernel.operations.banded import Reperiod

Ratios = tuple[Fraction, ...]


@dataclasses.dataclass
class _Group:
    """Places whose periods are proportional: (ratio to the base, size) of each, axis by axis."""

    places: list[tuple[Ratios, tuple[int, ...]]]
    #: Base, axis by axis, where a ring fixes it.
    fixed: list[Fraction | None]

    def bases(self) -> tuple[int, ...] | None:
        """The smallest base of each axis for which every period is whole and large enough."""
        result = []
        for axis, fixed in enumerate(self.fixed):
            whole = math.lcm(*(ratios[axis].denominator for ratios, _ in self.places))
            least = max(math.ceil(sizes[axis] / ratios[axis]) for ratios, sizes in self.places)
            base = Fraction(whole * -(-least // whole)) if fixed is None else fixed
            if base.denominator != 1 or base % whole or base < least:
                return None
            result.append(int(base))
        return tuple(result)

    def extended(self, places: list, fixed: list[Fraction | None]) -> "_Group | None":
        """This group with more places and fixed bases; None where that cannot be met."""
        merged = []
        for a, b in zip(self.fixed, fixed, strict=True):
            if a is not None and b is not None and a != b:
                return None
            merged.append(b if a is None else a)
        group = _Group(self.places + places, merged)
        return None if group.bases() is None else group


def _reperiod(node: Node) -> Reperiod:
    return Reperiod((Window(1),) * len(node.signal.sizes))


class _Assigner:
    """Walks the graph in order, copying it with changes of period where needed."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.groups: list[_Group] = []
        #: For each node of the copy, its group and its ratios to the base.
        self.member: list[tuple[int, Ratios]] = []

    def append(self, node: Node, group: int, ratios: Ratios) -> int:
        self.graph.nodes.append(node)
        self.member.append((group, ratios))
        return len(self.graph.nodes) - 1

    def fresh(self, node: Node) -> int:
        """A node whose periods are its own."""
        sizes = node.signal.sizes
        ones = (Fraction(1),) * len(sizes)
        self.groups.append(_Group([(ones, sizes)], [None] * len(sizes)))
        return self.append(node, len(self.groups) - 1, ones)

    def cut(self, index: int) -> int:
        """A change of period on top of a node."""
        node = self.graph.nodes[index]
        return self.fresh(Node(_reperiod(node), (index,), node.signal, node.place))

    def follow(self, node: Node) -> int:
        """A node whose periods follow those of its first input, as those of its others do."""
        first, *others = node.inputs
        given = self.graph.nodes[first].signal
        rules = [node.operation.period_ratio(given, axis) for axis in range(len(given.sizes))]
        for index in (first, None):
            index = self.cut(first) if index is None else index
            number, ratios = self.member[index]
            out = tuple(ratio * rule[0] for ratio, rule in zip(ratios, rules, strict=True))
            fixed = [
                None if period is None else Fraction(period) / ratio
                for ratio, (_, period) in zip(ratios, rules, strict=True)
            ]
            group = self.groups[number].extended([(out, node.signal.sizes)], fixed)
            if group is not None:
                self.groups[number] = group
                inputs = (index, *(self.aligned(index, other) for other in others))
                return self.append(dataclasses.replace(node, inputs=inputs), number, out)
        raise AssertionError(f"no period fits {node.place}")

    def aligned(self, index: int, other: int) -> int:
        """The node `other`, with the periods of node `index`."""
        (a, goal), (b, ratios) = self.member[index], self.member[other]
        if a == b and goal == ratios:
            return other
        if a != b:
            factor = [x / y for x, y in zip(goal, ratios, strict=True)]
            rescale = lambda r: tuple(x * f for x, f in zip(r, factor, strict=True))  # noqa: E731
            places = [(rescale(r), sizes) for r, sizes in self.groups[b].places]
            fixed = [
                None if x is None else x / f
                for x, f in zip(self.groups[b].fixed, factor, strict=True)
            ]
            group = self.groups[a].extended(places, fixed)
            if group is not None:
                self.groups[a] = group
                self.member = [(a, rescale(r)) if g == b else (g, r) for g, r in self.member]
                return other
        node = self.graph.nodes[other]
        changed = Node(_reperiod(node), (other,), node.signal, node.place)
        return self.append(changed, a, goal)


def assign_periods(graph: Graph) -> tuple[Graph, list[tuple[int, ...]], list[int]]:
    """Periods for every node.

    Returns:
      The graph with changes of period put in where needed, the periods of each of its nodes, and
      for each old node its index in the new graph.
    """
    assigner = _Assigner()
    index: list[int] = []
    for node in graph.nodes:
        node = dataclasses.replace(node, inputs=tuple(index[i] for i in node.inputs))
        if not node.inputs or not node.operation.keeps_periods:
            index.append(assigner.fresh(node))
            continue
        index.append(assigner.follow(node))
    bases = [group.bases() for group in assigner.groups]
    periods = [
        tuple(int(base * ratio) for base, ratio in zip(bases[group] or (), ratios, strict=True))
        for group, ratios in assigner.member
    ]
    return assigner.graph, periods, index
