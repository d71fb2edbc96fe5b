"""The graph and the plan of a network on the inputs of a call."""

import dataclasses
from typing import Any

from ntkjax._kernel.algebra.batch import Batch, data_of_kernel
from ntkjax._kernel.algebra.graph import Graph, Node, Part, Value, build_all, map_value
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.operation import LayerError
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.operations.inputs import ArrayInput
from ntkjax._kernel.operations.kernels import KernelInput
from ntkjax._kernel.operations.masked import Masked
from ntkjax._kernel.plan.plan import Plan, Request, make_plan


def is_symmetric(item: Any) -> bool:
    return item.cov2 is None if isinstance(item, Kernel) else item[1] is None


def _signal(item: Any, index: int) -> Signal:
    """The signal of an input, with the axes of a kernel or yet to be named by a layer."""
    if isinstance(item, Kernel):
        return Signal(
            item.shape1,
            item.shape2,
            item.batch_axis,
            item.channel_axis,
            item.is_gaussian,
            frozenset() if item.is_input else frozenset({f"input {index}"}),
            is_alike=item.is_gaussian,
        )
    first, second = item
    return Signal(first.shape, first.shape if second is None else second.shape, 0, first.ndim - 1)


def _check_kernel(kernel: Kernel, signal: Signal, place: str) -> None:
    """A kernel given as an input must hold all pairs of positions, or equal ones as it says."""
    n1, n2 = (shape[signal.batch_axis] for shape in (signal.shape1, signal.shape2))
    width = 1 if kernel.diagonal_spatial else 2
    positions = tuple(size for size in signal.sizes for _ in range(width))
    held = "over equal positions" if width == 1 else "interleaved over all pairs of positions"
    for name, lanes in (("nngp", (n1, n2)), ("ntk", (n1, n2)), ("cov1", (n1,)), ("cov2", (n2,))):
        array = getattr(kernel, name)
        if array is not None and array.shape != (*lanes, *positions):
            raise LayerError(
                f"{place}: kernel.{name} must have shape {(*lanes, *positions)}, {held} (its "
                f"diagonal_spatial is {kernel.diagonal_spatial}), but shape {array.shape} came; "
                "compute the kernel with get=None, and keep what kernel_fn returned."
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


def network_graph(
    part: Part, items: list[Any], structure: Value, *, intermediates: bool = False
) -> tuple[Graph, Value]:
    """The graph of a network on some inputs (arrays, or whatever has their shapes), and its output.

    With `intermediates`, the values after all of its layers.
    """
    graph = Graph(keywords=_keywords(items), masking=Masked() if _is_masked(items) else None)
    for index, item in enumerate(items):
        signal = _signal(item, index)
        if isinstance(item, Kernel):
            _check_kernel(item, signal, f"input {index}")
        is_kernel = isinstance(item, Kernel)
        graph.add_input(KernelInput() if is_kernel else ArrayInput(), signal, is_named=is_kernel)
    output, after_layers = build_all(part, graph, structure, "network")
    for index in range(len(items)):
        _check_batches(graph, index)
    _check_keywords(graph)
    return graph, after_layers if intermediates else output


def _is_masked(items: list[Any]) -> bool:
    """Whether entries of some input may be masked."""
    return any(
        item.mask1 is not None if isinstance(item, Kernel) else Batch.of(item[0]).mask is not None
        for item in items
    )


def _keywords(items: list[Any]) -> dict[str, tuple[Any, Any]]:
    """The arrays that keywords of the call bring for first and second images; all inputs' alike."""
    item = items[0]
    if isinstance(item, Kernel):
        first, second = (data_of_kernel(item, side) for side in range(2))
    else:
        first, second = (Batch.of(batch).data for batch in item)
    return {name: (array, second.get(name, array)) for name, array in first.items()}


def _check_keywords(graph: Graph) -> None:
    """Arrays of keywords must have an entry for each image."""
    signal = graph.nodes[0].signal
    for name, arrays in graph.keywords.items():
        shapes = zip(arrays, (signal.shape1, signal.shape2), ("x1", "x2"), strict=True)
        for array, shape, batch in shapes:
            if array.shape[:1] != (shape[signal.batch_axis],):
                raise LayerError(
                    f"kernel_fn: {name} has shape {array.shape}, but {batch} holds "
                    f"{shape[signal.batch_axis]} examples; its first axis runs over examples: "
                    f"give one entry for each, as {name}=(for x1, for x2) where they differ."
                )


def network_plan(
    part: Part, items: list[Any], structure: Value, request: Request
) -> tuple[Plan, Value]:
    """The plan of a network on some inputs, and where in its outputs each node of it is.

    The last of `items` are the kernels of the nodes that `request` says are replaced.
    """
    given = items[: len(items) - len(request.replaced)]
    graph, value = network_graph(part, given, structure, intermediates=request.intermediates)
    if request.intermediates and request.replaced:
        raise LayerError(
            f"{graph.nodes[request.replaced[0]].place}: mixes the examples of a batch, so that the "
            "kernels before and after it are not of the same ones; leave out intermediates=True, "
            "or call the layers below it and those above one after the other."
        )
    value = value if request.end is None else request.end
    outputs: list[int] = []

    def note(node: int) -> int:
        if node not in outputs:
            outputs.append(node)
        return outputs.index(node)

    places = map_value(note, value)
    for node, kernel in zip(request.replaced, items[len(given) :], strict=True):
        graph.nodes[node] = _replaced(graph.nodes[node], kernel)
    inputs = {node: k for k, node in enumerate((*range(len(given)), *request.replaced))}
    if not _is_masked(given):
        graph = _with_merged_inputs(graph, inputs, items)
    graph, index = _pruned(graph, outputs)
    inputs = {index[node]: k for node, k in inputs.items() if node in index}
    outputs = [index[node] for node in outputs]
    _check_counts(graph, inputs)
    return make_plan(graph, inputs, outputs, request, is_symmetric(items[0])), places


def _replaced(node: Node, kernel: Kernel) -> Node:
    """An input in place of an operation along the batch axis, whose kernel is known."""
    _check_kernel(kernel, node.signal, node.place)
    return dataclasses.replace(node, operation=KernelInput(), inputs=())


def _pruned(graph: Graph, outputs: list[int]) -> tuple[Graph, dict[int, int]]:
    """The graph without what the outputs do not need, and where its nodes stand now."""
    kept = sorted(graph.ancestors(outputs))
    index = {old: new for new, old in enumerate(kept)}
    nodes = (graph.nodes[i] for i in kept)
    moved = [
        dataclasses.replace(node, inputs=tuple(index[j] for j in node.inputs)) for node in nodes
    ]
    return Graph(moved), index


def _with_merged_inputs(graph: Graph, inputs: dict[int, int], items: list[Any]) -> Graph:
    """The graph with each input of arrays in one with the operation on it, where it can be.

    Adds what stands for both to `inputs`.
    """
    arrays = {node for node, k in inputs.items() if not isinstance(items[k], Kernel)}
    nodes = list(graph.nodes)
    for index, node in enumerate(nodes):
        both = node.operation.with_arrays
        if both is None or node.inputs[0] not in arrays:
            continue
        (below,) = node.inputs
        if graph.nodes[below].signal.batch_axis == node.signal.batch_axis:
            nodes[index] = dataclasses.replace(node, operation=both, inputs=())
            inputs[index] = inputs[below]
    return Graph(nodes)


def _check_counts(graph: Graph, inputs: dict[int, int]) -> None:
    """All inputs must have the same numbers of examples."""
    signals = [graph.nodes[i].signal for i in inputs]
    counts = [(s.shape1[s.batch_axis], s.shape2[s.batch_axis]) for s in signals]
    if len(set(counts)) > 1:
        places = ", ".join(
            f"{graph.nodes[i].place}: {n1} and {n2}"
            for i, (n1, n2) in zip(inputs, counts, strict=True)
        )
        raise LayerError(
            f"the inputs hold different numbers of examples ({places}); pass the same number of "
            "examples in every input."
        )


def batch_nodes(graph: Graph, end: int | None) -> list[int]:
    """The operations along the batch axis (that node `end` is made of), in order."""
    some = range(len(graph.nodes)) if end is None else sorted(graph.ancestors([end]))
    return [i for i in some if graph.nodes[i].operation.along_batch]
