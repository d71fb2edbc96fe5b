"""The graph and the plan of a network on the inputs of a call."""

from typing import Any

from ntkjax._kernel.algebra.graph import Graph, Part, Value, build, map_value
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.operation import LayerError
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.operations.inputs import ArrayInput
from ntkjax._kernel.operations.kernels import KernelInput
from ntkjax._kernel.plan.plan import Plan, Request, make_plan


def is_symmetric(item: Any) -> bool:
    return item.cov2 is None if isinstance(item, Kernel) else item[1] is None


def _signal(item: Any, index: int) -> Signal:
    """The signal of an input, with the axes of a kernel or yet to be named by a layer."""
    if isinstance(item, Kernel):
        sources = frozenset({f"input {index}"}) if item.is_gaussian else frozenset()
        return Signal(
            item.shape1, item.shape2, item.batch_axis, item.channel_axis, item.is_gaussian, sources
        )
    first, second = item
    return Signal(first.shape, first.shape if second is None else second.shape, 0, first.ndim - 1)


def _check_kernel(kernel: Kernel, signal: Signal, index: int) -> None:
    """A kernel given as an input must hold all pairs of positions."""
    n1, n2 = (shape[signal.batch_axis] for shape in (signal.shape1, signal.shape2))
    positions = tuple(size for size in signal.sizes for _ in range(2))
    for name, lanes in (("nngp", (n1, n2)), ("ntk", (n1, n2)), ("cov1", (n1,)), ("cov2", (n2,))):
        array = getattr(kernel, name)
        if array is not None and array.shape != (*lanes, *positions):
            raise LayerError(
                f"input {index}: kernel.{name} must have shape {(*lanes, *positions)}, interleaved "
                f"over all pairs of positions, but shape {array.shape} came; compute the kernel "
                "with get=None and without diagonal_spatial=True."
            )


def _check_batches(graph: Graph, index: int) -> None:
    """Both batches must have the same channels and positions."""
    signal = graph.nodes[index].signal
    for axis, (a, b) in enumerate(zip(signal.shape1, signal.shape2, strict=True)):
        if a != b and axis != signal.batch_axis:
            what = "channels" if axis == signal.channel_axis else "positions"
            raise LayerError(
                f"{graph.nodes[index].place}: x1 has shape {signal.shape1} and x2 has shape "
                f"{signal.shape2}: {a} and {b} {what} along axis {axis}, which must agree "
                f"({signal.layout} of the first layer)."
            )


def network_graph(part: Part, items: list[Any], structure: Value) -> tuple[Graph, Value]:
    """The graph of a network on some inputs (arrays, or whatever has their shapes)."""
    graph = Graph()
    for index, item in enumerate(items):
        signal = _signal(item, index)
        if isinstance(item, Kernel):
            _check_kernel(item, signal, index)
        is_kernel = isinstance(item, Kernel)
        graph.add_input(KernelInput() if is_kernel else ArrayInput(), signal, is_named=is_kernel)
    output = build(part, graph, structure, "network")
    for index in range(len(items)):
        _check_batches(graph, index)
    return graph, output


def network_plan(
    part: Part, items: list[Any], structure: Value, request: Request
) -> tuple[Plan, Value]:
    """The plan of a network on some inputs, and where in its outputs each node of it is."""
    graph, value = network_graph(part, items, structure)
    nodes: list[int] = []

    def note(node: int) -> int:
        nodes.append(node)
        return len(nodes) - 1

    places = map_value(note, value)
    return make_plan(graph, nodes, request, is_symmetric(items[0])), places
