"""The plan: from the output backwards, what every place of a network must hold.

Which diagonals of the cross kernel, which of the kernels of images with themselves (a pool needs
them to know the variance of its output), and whether as distances (a nonlinearity comes later) or
as covariances.
"""

import dataclasses
import functools

from ntkjax._kernel.algebra.diagonals import Diagonals
from ntkjax._kernel.algebra.graph import Graph, Node
from ntkjax._kernel.algebra.operation import MixingOperation, RowOperation, Step
from ntkjax._kernel.algebra.state import NO_HALO, Halo
from ntkjax._kernel.plan.periods import assign_periods


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
    """What one place of the network holds.

    Attributes:
      cross: diagonals of the kernel between the two batches.
      own: diagonals of the kernels of images with themselves.
      in_distances: whether as distances rather than covariances.
      is_excess: whether the tangent kernel is its excess over the covariance.
      halo: what a row holds beyond its ends, for the windows that read it.
      is_ring: whether that is the row's other end, not zeros.
    """

    cross: Diagonals
    own: Diagonals | None
    in_distances: bool
    is_excess: bool
    halo: Halo
    is_ring: bool


@dataclasses.dataclass(frozen=True)
class Plan:
    """A graph, what each node holds, and the nodes of the outputs."""

    nodes: tuple[Node, ...]
    held: tuple[Held, ...]
    outputs: tuple[int, ...]
    request: Request
    symmetric: bool

    @functools.cached_property
    def consumers(self) -> list[list[int]]:
        """For each node, the nodes that take it; an output is taken by one beyond the last."""
        result: list[list[int]] = [[] for _ in self.nodes]
        for index, node in enumerate(self.nodes):
            for j in node.inputs:
                result[j].append(index)
        for index in self.outputs:
            result[index].append(len(self.nodes))
        return result

    @functools.cached_property
    def has_tangent(self) -> list[bool]:
        """For each node, whether what is held of its tangent kernel is other than zero.

        That of inputs vanishes, and so does, as an excess, that of the first linear layer.
        """
        known: list[bool] = []
        for index, node in enumerate(self.nodes):
            given = any(known[j] or self.is_resolved(index, j) for j in node.inputs)
            operation = node.operation
            tangent = (
                operation.has_tangent(given, self.step(index)) if operation else node.is_kernel
            )
            known.append(tangent and self.request.ntk)
        return known

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of first and of second images."""
        signal = self.nodes[0].signal
        return signal.shape1[signal.batch_axis], signal.shape2[signal.batch_axis]

    @property
    def is_streamed(self) -> bool:
        """Whether it is made diagonal by diagonal, tile by tile: not for a user's own layers."""
        operations = (node.operation for node in self.nodes)
        return all(o is None or isinstance(o, (RowOperation, MixingOperation)) for o in operations)

    @functools.cached_property
    def joint(self) -> int | None:
        """The pool over all positions that alone mixes diagonals, and that nothing goes around.

        What its input diagonals add to it may be made apart.
        """
        mixing = [i for i, n in enumerate(self.nodes) if isinstance(n.operation, MixingOperation)]
        if len(mixing) != 1 or self.held[mixing[0]].cross.ndim or not self.is_streamed:
            return None
        (index,) = mixing
        taken = [j for node in self.nodes[index + 1 :] for j in node.inputs]
        return index if min(*taken, *self.outputs, index) == index else None

    def form(self, index: int) -> tuple:
        """In which arrays the pairs of one diagonal come at a node."""
        held = self.held[index]
        places = held.cross.sizes, held.cross.periods
        tangent = held.is_excess, self.has_tangent[index]
        return places, held.in_distances, *tangent, held.halo, held.is_ring

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
            bool(node.inputs) and self.held[below].is_excess and not self.is_resolved(index, below),
            held.is_excess,
        )

    def is_converted(self, consumer: int, given: int) -> bool:
        """Whether a consumer takes covariances where its input is held as distances."""
        operation = self.nodes[consumer].operation
        keeps = self.held[consumer].in_distances or (operation and operation.needs_distance)
        return self.held[given].in_distances and not keeps

    def is_resolved(self, consumer: int, given: int) -> bool:
        """Whether a consumer takes the whole tangent kernel of an input that holds its excess."""
        operation = self.nodes[consumer].operation
        if not self.held[given].is_excess or operation is None:
            return False
        takes = operation.takes_excess(self.held[consumer].is_excess)
        return self.is_converted(consumer, given) or not takes

    def _own_rows(self, index: int) -> Diagonals | None:
        held, operation = self.held[index], self.nodes[index].operation
        if operation is not None and operation.needs_energy and held.in_distances:
            zero = held.cross.zero()
            return zero if held.own is None else zero.union(held.own)
        return held.own

    def of_images(self, *, tangents: bool = False) -> "Plan":
        """The plan for the kernels of images with themselves, without their `tangents`."""

        def own(index: int, held: Held) -> Held:
            rows = self._own_rows(index)
            cross = held.cross.zero() if rows is None else rows
            return dataclasses.replace(
                held, cross=cross, own=rows, is_excess=held.is_excess and tangents
            )

        held = tuple(own(i, h) for i, h in enumerate(self.held))
        request = dataclasses.replace(self.request, ntk=self.request.ntk and tangents)
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
        linear = not node.operation.gives_distance
        for j in node.inputs:
            add(j, *_needs(node, cross[i], own[i], in_distances[i], geometry[j]))
            if node.operation.needs_distance or (linear and in_distances[i]):
                in_distances[j] = True
    forms = zip(
        cross, own, in_distances, _excesses(graph, in_distances, request), *_halos(graph, geometry),
        strict=True,
    )  # fmt: skip
    held = tuple(Held(*parts) for parts in forms)
    return Plan(tuple(graph.nodes), held, tuple(outputs), request, symmetric)


def _needs(
    node: Node,
    cross: Diagonals,
    own: Diagonals | None,
    in_distances: bool,
    geometry: Diagonals,
) -> tuple[Diagonals, Diagonals | None]:
    """The cross and the own diagonals that a node needs of an input of the given geometry."""
    operation = node.operation
    assert operation is not None
    needed = geometry.with_rows(operation.demand(cross, geometry))
    if operation.needs_self:
        return needed, geometry.all()
    wanted = [own] if own is not None else []
    if operation.needs_energy and in_distances:
        wanted.append(cross.zero())
    rows = [geometry.with_rows(operation.demand(one, geometry)) for one in wanted]
    return needed, functools.reduce(Diagonals.union, rows) if rows else None


def _excesses(graph: Graph, in_distances: list[bool], request: Request) -> list[bool]:
    """At which nodes the tangent kernel is carried as its excess over the covariance."""
    result: list[bool] = []
    for node, distances in zip(graph.nodes, in_distances, strict=True):
        if node.operation is None or not request.ntk:
            result.append(False)
            continue
        given = tuple(result[j] and distances for j in node.inputs)
        result.append(node.operation.is_excess(given, distances))
    return result


def _halos(graph: Graph, geometry: list[Diagonals]) -> tuple[list[Halo], list[bool]]:
    """How far beyond the rows of each node its consumers read, and whether they want a ring."""
    halos = [NO_HALO * places.ndim for places in geometry]
    rings = [False] * len(halos)
    for i, node in enumerate(graph.nodes):
        for j in node.inputs:
            assert node.operation is not None
            needed = node.operation.halo(geometry[j], geometry[i])
            halos[j] = tuple(
                (max(a, c), max(b, d)) for (a, b), (c, d) in zip(halos[j], needed, strict=True)
            )
            rings[j] |= node.operation.is_ring
    return halos, rings
