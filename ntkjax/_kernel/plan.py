"""The plan: from the output backwards, what every place of a network must hold.

Which diagonals of the cross kernel, which of the kernels of images with themselves (a pool needs
them to know the variance of its output), and whether as distances (a nonlinearity comes later) or
as covariances.
"""

import dataclasses
import functools

from ntkjax._kernel.diagonals import Diagonals
from ntkjax._kernel.graph import Graph, Node
from ntkjax._kernel.operation import Step
from ntkjax._kernel.periods import assign_periods


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked of the outputs.

    Attributes:
      ntk: whether the neural tangent kernel is wanted.
      cov: whether the covariances of images with themselves are wanted.
      diagonal_spatial: whether equal positions suffice.
    """

    ntk: bool
    cov: bool
    diagonal_spatial: bool


@dataclasses.dataclass(frozen=True)
class Held:
    """What one place of the network holds."""

    cross: Diagonals
    own: Diagonals | None
    in_distances: bool


@dataclasses.dataclass(frozen=True)
class Plan:
    """A graph, what each node holds, and the nodes of the outputs."""

    nodes: tuple[Node, ...]
    held: tuple[Held, ...]
    outputs: tuple[int, ...]
    request: Request
    symmetric: bool

    def step(self, index: int) -> Step:
        """All that the operation of a node needs to know."""
        node, held = self.nodes[index], self.held[index]
        below = node.inputs[0] if node.inputs else index
        return Step(
            self.nodes[below].signal,
            self.held[below].cross,
            held.cross,
            held.in_distances,
            self.request.ntk,
        )

    def is_converted(self, consumer: int, given: int) -> bool:
        """Whether a consumer takes covariances where its input is held as distances."""
        operation = self.nodes[consumer].operation
        keeps = self.held[consumer].in_distances or (operation and operation.needs_distance)
        return self.held[given].in_distances and not keeps

    def has_own(self, index: int) -> bool:
        """Whether the kernels of images with themselves are held at a node."""
        return self._own_rows(index) is not None

    def _own_rows(self, index: int) -> Diagonals | None:
        held, operation = self.held[index], self.nodes[index].operation
        if operation is not None and operation.needs_energy and held.in_distances:
            zero = held.cross.zero()
            return zero if held.own is None else zero.union(held.own)
        return held.own

    def of_images(self) -> "Plan":
        """The plan for the kernels of images with themselves."""

        def own(index: int, held: Held) -> Held:
            rows = self._own_rows(index)
            cross = held.cross.zero() if rows is None else rows
            return Held(cross, rows, held.in_distances)

        held = tuple(own(i, h) for i, h in enumerate(self.held))
        request = dataclasses.replace(self.request, ntk=False)
        return dataclasses.replace(self, held=held, request=request)

    def given_rows(self, index: int, rows: Diagonals) -> Diagonals:
        """The diagonals of its input that a node makes `rows` of."""
        node = self.nodes[index]
        assert node.operation is not None
        geometry = self.held[node.inputs[0]].cross
        return geometry.with_rows(node.operation.demand(rows, geometry))


def make_plan(graph: Graph, outputs: list[int], request: Request, symmetric: bool) -> Plan:
    """Decide, from the outputs backwards, what every node holds."""
    graph, periods, index = assign_periods(graph)
    outputs = [index[i] for i in outputs]
    geometry = [
        Diagonals(node.signal.sizes, period, ((),) * len(period))
        for node, period in zip(graph.nodes, periods, strict=True)
    ]
    cross = list(geometry)
    own: list[Diagonals | None] = [None] * len(graph.nodes)
    in_distances = [bool(n.operation and n.operation.gives_distance) for n in graph.nodes]

    def add(index: int, more: Diagonals, more_own: Diagonals | None) -> None:
        cross[index] = cross[index].union(more)
        if more_own is not None:
            held = own[index]
            own[index] = more_own if held is None else held.union(more_own)

    for i in outputs:
        wanted = geometry[i].zero() if request.diagonal_spatial else geometry[i].all()
        add(i, wanted, wanted if request.cov else None)
    for i in reversed(range(len(graph.nodes))):
        node = graph.nodes[i]
        if node.operation is None:
            continue
        held = Held(cross[i], own[i], in_distances[i])
        linear = not node.operation.gives_distance
        for j in node.inputs:
            add(j, *_needs(node, held, geometry[j]))
            if node.operation.needs_distance or (linear and in_distances[i]):
                in_distances[j] = True
    held = tuple(Held(*parts) for parts in zip(cross, own, in_distances, strict=True))
    return Plan(tuple(graph.nodes), held, tuple(outputs), request, symmetric)


def _needs(node: Node, held: Held, geometry: Diagonals) -> tuple[Diagonals, Diagonals | None]:
    """The cross and the own diagonals that a node needs of an input of the given geometry."""
    operation = node.operation
    assert operation is not None
    cross = geometry.with_rows(operation.demand(held.cross, geometry))
    if operation.needs_self:
        return cross, geometry.all()
    own = [held.own] if held.own is not None else []
    if operation.needs_energy and held.in_distances:
        own.append(held.cross.zero())
    rows = [geometry.with_rows(operation.demand(wanted, geometry)) for wanted in own]
    return cross, functools.reduce(Diagonals.union, rows) if rows else None
