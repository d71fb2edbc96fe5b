"""Networks as graphs: the layers' combinators, spelled out as a list of operations.

`serial` and `parallel` nest; the engine wants a list in which every operation names its inputs. A
value is a node of the graph, or a tuple of values (the branches between FanOut and FanIn).
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import jax

from ntkjax._kernel.algebra.operation import LayerError, Operation, operation, static
from ntkjax._kernel.algebra.signal import Signal

Value = Any  # int | tuple["Value", ...]


@dataclasses.dataclass(frozen=True)
class Node:
    """One operation in its network; inputs of the network take no other nodes."""

    operation: Operation
    inputs: tuple[int, ...]
    signal: Signal
    place: str


@dataclasses.dataclass
class Graph:
    """The operations of a network in the order of computation."""

    nodes: list[Node] = dataclasses.field(default_factory=list)
    #: Inputs whose axes no layer has named yet.
    unnamed: set[int] = dataclasses.field(default_factory=set)
    #: The keywords of the call that bring arrays, and of each the arrays of first and of second
    #: images, of which shapes and types may be asked.
    keywords: dict[str, tuple[Any, Any]] = dataclasses.field(default_factory=dict)
    #: What makes masked positions points of no variance again; None where nothing is masked.
    masking: Operation | None = None

    def add_input(self, operation: Operation, signal: Signal, *, is_named: bool) -> int:
        """A new input; unless its axes are named, the first layer on top of it names them."""
        index = len(self.nodes)
        self.nodes.append(Node(operation, (), signal, f"input {index}"))
        if not is_named:
            self.unnamed.add(index)
        return index

    def name_axes(self, index: int, batch_axis: int, channel_axis: int | None, place: str) -> None:
        """Check which axes a layer takes for batch and channels, or say so for an input."""
        signal = self.nodes[index].signal
        ndim = len(signal.shape1)
        if not all(a is None or -ndim <= a < ndim for a in (batch_axis, channel_axis)):
            raise LayerError(
                f"{place}: batch_axis={batch_axis}, channel_axis={channel_axis} are no axes of its "
                f"input of shape {signal.shape1}, which has {ndim}; give the input a batch axis, "
                "the spatial axes of the layer and channels."
            )
        batch = batch_axis % ndim
        if channel_axis is not None and batch == channel_axis % ndim:
            raise LayerError(
                f"{place}: batch_axis={batch_axis} and channel_axis={channel_axis} are the same "
                f"axis of its input of shape {signal.shape1}; give two different ones."
            )
        if index in self.unnamed:
            others = [axis for axis in range(ndim) if axis != batch]
            channel = others[-1] if channel_axis is None else channel_axis % ndim
            named = dataclasses.replace(signal, batch_axis=batch, channel_axis=channel)
            self.nodes[index] = dataclasses.replace(self.nodes[index], signal=named)
            self.unnamed.discard(index)
            signal = named
        channel = signal.channel_axis if channel_axis is None else channel_axis % ndim
        if (batch, channel) != (signal.batch_axis, signal.channel_axis):
            raise LayerError(
                f"{place}: takes batch_axis={batch}, channel_axis={channel}, but its input of "
                f"shape {signal.shape1} has {signal.layout}; give every layer the same axes."
            )

    def add(self, operation: Operation, inputs: tuple[int, ...], place: str) -> int:
        """A new node, after checking that its operation takes its inputs."""
        *before, operation = operation.where_masked() if self.masking else (operation,)
        for one in before:
            inputs = (self.add_one(one, inputs, place),)
        return self.add_one(operation, inputs, place)

    def add_one(self, operation: Operation, inputs: tuple[int, ...], place: str) -> int:
        """A new node of this very operation."""
        signals = tuple(self.nodes[i].signal for i in inputs)
        # Two operations of one layer share its place; the index tells its weights from others'.
        source = f"{place} [{len(self.nodes)}]"
        with at_place(place):
            signal = operation.infer(signals, source)
        self.nodes.append(Node(operation, inputs, signal, place))
        return len(self.nodes) - 1

    def ancestors(self, outputs: Iterable[int]) -> set[int]:
        """The nodes that some nodes are made of, themselves included."""
        found = set(outputs)
        for index in reversed(range(len(self.nodes))):
            if index in found:
                found |= set(self.nodes[index].inputs)
        return found


class at_place:
    """Say in which layer, and where, an error arose."""

    def __init__(self, place: str):
        self.place = place

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, LayerError) and not getattr(error, "placed", False):
            placed = type(error)(f"{self.place}: {error}")
            placed.placed = True  # type: ignore[attr-defined]
            raise placed from None


class Structure:
    """What arranges operations: its `build` adds them to a graph and returns the output value."""

    #: Keywords of `kernel_fn` that the operations it adds take (see `Operation`).
    keywords: tuple[str, ...] = ()

    def build(self, graph: Graph, value: Value, place: str) -> Value:
        """Add this part of the network on top of `value`."""
        raise NotImplementedError

    def build_all(self, graph: Graph, value: Value, place: str) -> tuple[Value, Value]:
        """The same, and the values after all of its layers, nested as the layers are."""
        value = self.build(graph, value, place)
        return value, value


Part = Operation | Structure


def keywords_of(part: Part) -> tuple[str, ...]:
    """The keywords of `kernel_fn` that some part of a network takes, sorted."""
    found: set[str] = set()

    def visit(node: Any) -> bool:
        if isinstance(node, (Operation, Structure)):
            found.update(node.keywords)
        return False

    jax.tree.leaves(part, is_leaf=visit)
    return tuple(sorted(found))


def build(part: Part, graph: Graph, value: Value, place: str) -> Value:
    """Add a part of a network, an operation or a structure, on top of `value`."""
    if isinstance(part, Structure):
        return part.build(graph, value, place)
    return graph.add(part, (single(value, place),), place)


def build_all(part: Part, graph: Graph, value: Value, place: str) -> tuple[Value, Value]:
    """The same, and the values after all of its layers, nested as the layers are."""
    if isinstance(part, Structure):
        return part.build_all(graph, value, place)
    value = build(part, graph, value, place)
    return value, value


def single(value: Value, place: str) -> int:
    """The one node that a layer takes; branches must be joined first."""
    if isinstance(value, tuple):
        raise LayerError(
            f"{place}: takes one input, but a list of {len(value)} came; use parallel to give each "
            "its own layers, or FanInSum to join them."
        )
    return value


@operation
class Named(Structure):
    """The operations of one public layer, under its name."""

    parts: tuple[Part, ...]
    name: str = static()
    #: Which axes of its input the layer takes for batch and channels (None: any).
    axes: tuple[int, int | None] | None = static(default=None)

    def build(self, graph: Graph, value: Value, place: str) -> Value:
        place = f"{self.name} at {place}"
        if self.axes is not None:
            takes_lists = any(getattr(part, "takes_lists", False) for part in self.parts)
            for node in nodes_of(value) if takes_lists else [single(value, place)]:
                graph.name_axes(node, *self.axes, place)
        start = len(graph.nodes)
        for part in self.parts:
            value = build(part, graph, value, place)
        if graph.masking and any(node.operation.unmasks for node in graph.nodes[start:]):
            masking = graph.masking
            value = map_value(lambda node: graph.add_one(masking, (node,), place), value)
        return value


@operation
class Serial(Structure):
    """One part after the other."""

    parts: tuple[Part, ...]

    def build(self, graph: Graph, value: Value, place: str) -> Value:
        return self.build_all(graph, value, place)[0]

    def build_all(self, graph: Graph, value: Value, place: str) -> tuple[Value, Value]:
        after: list[Value] = []
        for i, part in enumerate(self.parts):
            value, inside = build_all(part, graph, value, _inside(place, f"layer {i}"))
            after.append(inside)
        return value, tuple(after)


@operation
class Repeat(Serial):
    """Copies of one part, one after the other; their parameters may lie in one array each."""


@operation
class Parallel(Structure):
    """One part for each branch."""

    parts: tuple[Part, ...]

    def build(self, graph: Graph, value: Value, place: str) -> Value:
        return self.build_all(graph, value, place)[0]

    def build_all(self, graph: Graph, value: Value, place: str) -> tuple[Value, Value]:
        place = f"parallel at {place}"
        if not isinstance(value, tuple) or len(value) != len(self.parts):
            came = f"{len(value)} inputs" if isinstance(value, tuple) else "a single input"
            raise LayerError(
                f"{place}: has {len(self.parts)} branches, but {came} came; pass a list with one "
                f"input for each branch, or put FanOut({len(self.parts)}) before it."
            )
        branches = [
            build_all(part, graph, branch, _inside(place, f"branch {i}"))
            for i, (part, branch) in enumerate(zip(self.parts, value, strict=True))
        ]
        return tuple(after for after, _ in branches), tuple(inside for _, inside in branches)


@operation
class Copies(Structure):
    """The same value for each of several branches: FanOut."""

    count: int = static()

    def build(self, graph: Graph, value: Value, place: str) -> Value:
        return (value,) * self.count


@operation
class Join(Structure):
    """An operation on all branches at once: FanIn."""

    operation: Operation

    def build(self, graph: Graph, value: Value, place: str) -> Value:
        if not isinstance(value, tuple):
            raise LayerError(
                f"{place}: takes a list of branches, but a single input came; put FanOut and "
                "parallel before it."
            )
        nodes = tuple(single(branch, place) for branch in value)
        return graph.add(self.operation, nodes, place)


def _inside(place: str, part: str) -> str:
    """A place one level further in."""
    return part if place == "network" else f"{part} of {place}"


def nodes_of(value: Value) -> list[int]:
    """All nodes of a value."""
    return (
        [node for one in value for node in nodes_of(one)] if isinstance(value, tuple) else [value]
    )


def map_value(fn: Callable[[int], Any], value: Value, make: Callable = tuple) -> Any:
    """Apply `fn` to every node of a value; branches become what `make` makes of them."""
    if isinstance(value, tuple):
        return make(map_value(fn, branch, make) for branch in value)
    return fn(value)
