"""The plan: from the output backwards, what every place of a network must hold.

Which diagonals of the cross kernel, which of the kernels of images with themselves (a pool needs
them to know the variance of its output), and in which form (see `forms.py`).

A worked example. Four positions, [Conv with three taps, Relu, GlobalAvgPool], NTK, two batches:

    node  operation     diagonals   form
    0     input         0 1 2 3     distance
    1     tap sum       0 1 2 3     distance
    2     affine map    0 1 2 3     distance, excess
    3     Relu          0 1 2 3     distance
    4     conversion    0 1 2 3     covariance
    5     global pool   one         covariance, of no axes from here on
    6     Reveal        one         covariance, in the units of f
    7     Output        one         covariance

Of images with themselves, only variances are needed here. With a nonlinearity after the pool, the
pool would be held as a distance; to know the variance of its output, it would need the kernels of
images with themselves on all four diagonals, and so would the nodes below it.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from ntkjax._kernel.algebra.diagonals import Diagonals
from ntkjax._kernel.algebra.graph import Graph, Node
from ntkjax._kernel.algebra.operation import Place, Step
from ntkjax._kernel.algebra.sides import NO_HALO, Halo
from ntkjax._kernel.operations.convert import Output, Reveal
from ntkjax._kernel.plan.forms import Forms, assign_forms
from ntkjax._kernel.plan.periods import assign_periods
from ntkjax._kernel.plan.scales import Scales, find_scales


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked of the outputs.

    Attributes:
      ntk: whether the neural tangent kernel is wanted.
      cov: whether the covariances of images with themselves are wanted.
      diagonal_spatial: whether equal positions suffice.
      distance: whether the distances are wanted beside the covariances.
      is_unscaled: whether the images are so alike in size that all may have scale 1.
      intermediates: whether the outputs are the kernels after all layers.
      end: of a network that is cut into stages, the node that is the only output; None for all.
      replaced: the nodes whose kernels come as further inputs, from the stages before.
      nngp: whether the covariances of pairs are wanted.
    """

    ntk: bool
    cov: bool
    diagonal_spatial: bool
    distance: bool = False
    is_unscaled: bool = False
    intermediates: bool = False
    end: int | None = None
    replaced: tuple[int, ...] = ()
    nngp: bool = True


@dataclasses.dataclass(frozen=True)
class Plan:
    """A graph, what each node holds, and the nodes of the outputs.

    Attributes:
      nodes: the operations, in the order of computation.
      places: what each of them makes.
      steps: what each of them is told.
      scales: where the images get new scales.
      inputs: the input nodes, and which of the inputs of the call each is.
      outputs: the nodes that collect what was asked for.
      request: what was asked for.
      symmetric: whether both batches are the same.
    """

    nodes: tuple[Node, ...]
    places: tuple[Place, ...]
    steps: tuple[Step, ...]
    scales: Scales
    inputs: tuple[tuple[int, int], ...]
    outputs: tuple[int, ...]
    request: Request
    symmetric: bool

    def of_items(self, items: Sequence[Any]) -> dict[int, Any]:
        """The inputs of the call, by node."""
        return {node: items[k] for node, k in self.inputs}

    @functools.cached_property
    def consumers(self) -> list[list[int]]:
        """For each node, the nodes that take it; twice, one that takes it twice."""
        result: list[list[int]] = [[] for _ in self.nodes]
        for index, node in enumerate(self.nodes):
            for j in node.inputs:
                result[j].append(index)
        return result

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of first and of second images."""
        signal = self.nodes[0].signal
        return signal.shape1[signal.batch_axis], signal.shape2[signal.batch_axis]

    def is_source(self, i: int) -> bool:
        """Whether segments start at a node: an input, or held on several diagonals at once."""
        return self.nodes[i].operation.is_stored or not self.nodes[i].inputs

    @functools.cached_property
    def collectors(self) -> tuple[int, ...]:
        """The nodes that make their diagonals of many, outputs not among them."""
        return tuple(
            i
            for i, node in enumerate(self.nodes)
            if node.operation.collects and i not in self.outputs
        )

    @functools.cached_property
    def may_be_unscaled(self) -> bool:
        """Whether its operations work on images of scale 1, and what these are is quickly known.

        Below the last node with a scale of its own, no images with themselves are needed.
        """
        last = max((i for i, renews in enumerate(self.scales.renews) if renews), default=0)
        return all(node.operation.works_unscaled for node in self.nodes) and not any(
            node.operation.collects for node in self.nodes[:last]
        )

    @functools.cached_property
    def joint(self) -> int | None:
        """The pool over all positions that alone mixes diagonals, and that nothing goes around.

        What its input diagonals add to it may be made apart.
        """
        if len(self.collectors) != 1 or self.places[self.collectors[0]].cross.ndim:
            return None
        (index,) = self.collectors
        taken = [j for node in self.nodes[index + 1 :] for j in node.inputs]
        return index if min(*taken, index) == index else None

    def given_rows(self, index: int, rows: Diagonals) -> Diagonals:
        """The diagonals of its (first) input that a node makes `rows` of."""
        node = self.nodes[index]
        geometry = self.places[node.inputs[0]].cross
        return geometry.with_rows(node.operation.demand(rows, geometry))

    @functools.cached_property
    def of_images(self) -> "Plan":
        """The plan for the kernels of images with themselves, without tangents."""

        def own(index: int, place: Place) -> Place:
            rows = self.own_rows(index)
            cross = place.cross.zero() if rows is None else rows
            form = place.form.without_tangent()
            return dataclasses.replace(place, cross=cross, own=rows, form=form)

        places = tuple(own(i, place) for i, place in enumerate(self.places))

        def step(index: int, step: Step) -> Step:
            forms = (place.form.without_tangent() for place in step.inputs)
            inputs = tuple(
                dataclasses.replace(places[j], form=form)
                for j, form in zip(self.nodes[index].inputs, forms, strict=True)
            )
            return dataclasses.replace(step, inputs=inputs, here=places[index])

        steps = tuple(step(i, s) for i, s in enumerate(self.steps))
        request = dataclasses.replace(self.request, ntk=False)
        return dataclasses.replace(self, places=places, steps=steps, request=request)

    def own_rows(self, index: int) -> Diagonals | None:
        """The diagonals of the kernels of images with themselves that are made at a node."""
        place = self.places[index]
        if self.nodes[index].operation.needs_energy and place.form.is_distance:
            zero = place.cross.zero()
            return zero if place.own is None else zero.union(place.own)
        return place.own


def make_plan(
    graph: Graph, inputs: dict[int, int], outputs: list[int], request: Request, symmetric: bool
) -> Plan:
    """Decide, from the outputs backwards, what every node holds.

    `inputs` tells which of the inputs of the call each input node is.
    """
    graph, ends = _with_outputs(graph, outputs, request)
    graph, periods, index = assign_periods(graph)
    forms = assign_forms(graph, request.ntk)
    nodes = tuple(forms.graph.nodes)
    ends, starts = ([forms.index[index[i]] for i in some] for some in (ends, inputs))
    geometry = [
        Diagonals(nodes[i].signal.sizes, periods[j], ((),) * len(periods[j]))
        for i, j in enumerate(forms.origin)
    ]
    cross, own = _demands(nodes, ends, geometry, forms, request)
    parts = zip(nodes, cross, own, forms.held, *_halos(nodes, geometry), strict=True)
    places = tuple(Place(node.signal, *rest) for node, *rest in parts)
    scales = find_scales(nodes, request.is_unscaled)
    steps = tuple(
        Step(
            _inputs(node, places, forms.taken[i]), places[i], scales.renews[i], request.is_unscaled
        )
        for i, node in enumerate(nodes)
    )
    items = tuple(zip(starts, inputs.values(), strict=True))
    return Plan(nodes, places, steps, scales, items, tuple(ends), request, symmetric)


def _with_outputs(graph: Graph, outputs: list[int], request: Request) -> tuple[Graph, list[int]]:
    """The graph with nodes that reveal and collect what was asked for."""
    graph, ends = Graph(list(graph.nodes)), []
    for i in outputs:
        below = graph.nodes[i]
        for operation in (Reveal(request.distance), Output()):
            graph.nodes.append(Node(operation, (i,), below.signal, below.place))
            i = len(graph.nodes) - 1
        ends.append(i)
    return graph, ends


def _inputs(node: Node, places: Sequence[Place], taken: tuple) -> tuple[Place, ...]:
    """The places that a node takes, in the forms that it accepts."""
    inputs = zip(node.inputs, taken, strict=True)
    return tuple(dataclasses.replace(places[j], form=form) for j, form in inputs)


def _demands(
    nodes: tuple[Node, ...],
    ends: list[int],
    geometry: list[Diagonals],
    forms: Forms,
    request: Request,
) -> tuple[list[Diagonals], list[Diagonals | None]]:
    """The diagonals of the cross kernel, and of images with themselves, of every node."""
    cross = list(geometry)
    own: list[Diagonals | None] = [None] * len(nodes)

    def add(index: int, more: Diagonals, more_own: Diagonals | None) -> None:
        cross[index] = cross[index].union(more)
        if more_own is not None:
            held = own[index]
            own[index] = more_own if held is None else held.union(more_own)

    for i in ends:
        wanted = geometry[i].zero() if request.diagonal_spatial else geometry[i].all()
        add(i, wanted, wanted if request.cov else None)
    for i in reversed(range(len(nodes))):
        for j in nodes[i].inputs:
            add(j, *_needs(nodes[i], cross[i], own[i], forms.held[i].is_distance, geometry[j]))
    return cross, own


def _needs(
    node: Node, cross: Diagonals, own: Diagonals | None, is_distance: bool, geometry: Diagonals
) -> tuple[Diagonals, Diagonals | None]:
    """The cross and the own diagonals that a node needs of an input of the given geometry."""
    operation = node.operation
    needed = geometry.with_rows(operation.demand(cross, geometry))
    if operation.needs_self:
        return needed, geometry.all()
    wanted = [own] if own is not None else []
    if operation.needs_energy and is_distance:
        wanted.append(cross.zero())
    rows = [geometry.with_rows(operation.demand(one, geometry)) for one in wanted]
    return needed, functools.reduce(Diagonals.union, rows) if rows else None


def _halos(nodes: tuple[Node, ...], geometry: list[Diagonals]) -> tuple[list[Halo], list[bool]]:
    """How far beyond the rows of each node its consumers read, and whether they want a ring."""
    halos = [NO_HALO * places.ndim for places in geometry]
    rings = [False] * len(halos)
    for i, node in enumerate(nodes):
        for j in node.inputs:
            needed = node.operation.halo(geometry[j], geometry[i])
            halos[j] = tuple(
                (max(a, c), max(b, d)) for (a, b), (c, d) in zip(halos[j], needed, strict=True)
            )
            rings[j] |= node.operation.is_ring
    return halos, rings
