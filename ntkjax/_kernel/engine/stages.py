"""Networks with operations along the batch axis, carried out in stages.

Such an operation needs the kernels of whole batches. What is below it is a network of its own. Its
kernel is computed for both batches, and of each batch with itself; what the operation makes of them
is an input of what is above it.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
from jax import dtypes

from ntkjax._kernel.algebra.graph import Part, Value
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.operation import LayerError
from ntkjax._kernel.plan.network import batch_nodes, network_graph
from ntkjax._kernel.plan.plan import Request

#: From the inputs of a call and what is asked of it to the kernels of its outputs.
Evaluate = Callable[[list[Any], Request], Any]


def shapes_of(tree: Any) -> tuple[Any, tuple[Any, ...]]:
    """The structure of networks and inputs, and shape and type of each array and number."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple(map(_shape, leaves))


def of_shapes(structure: Any, shapes: tuple[Any, ...], fn: Callable[..., Any]) -> Any:
    """What `fn` decides of networks and inputs of these shapes, without computing."""
    found: list[Any] = []
    structs = [
        jax.ShapeDtypeStruct(shape, dtype, weak_type=is_weak) for shape, dtype, is_weak in shapes
    ]
    jax.eval_shape(lambda tree: found.append(fn(*tree)), jax.tree.unflatten(structure, structs))
    return found[0]


def _shape(leaf: Any) -> tuple[tuple[int, ...], Any, bool]:
    """Shape, type, and whether the type gives way to that of arrays, as a Python number's does."""
    if hasattr(leaf, "dtype"):
        return leaf.shape, leaf.dtype, bool(getattr(leaf, "weak_type", False))
    return (), dtypes.canonicalize_dtype(type(leaf)), True


@functools.lru_cache(maxsize=1024)
def _batch_nodes(
    tree: Any, shapes: tuple[Any, ...], structure: Value, end: int | None
) -> list[tuple[int, tuple[int, ...]]]:
    """The operations along the batch axis, and their inputs."""

    def find(part: Part, items: list[Any]) -> list[tuple[int, tuple[int, ...]]]:
        graph, _ = network_graph(part, items, structure)
        return [(i, graph.nodes[i].inputs) for i in batch_nodes(graph, end)]

    return of_shapes(tree, shapes, find)


def with_stages(
    part: Part,
    items: list[Any],
    shapes: tuple[Any, tuple[Any, ...]],
    structure: Value,
    request: Request,
    evaluate: Evaluate,
) -> tuple[list[Any], Request]:
    """Inputs and request, with the kernels of the stages below instead of operations on batches.

    `shapes` are those of the network and its inputs.
    """
    found = _batch_nodes(*shapes, structure, request.end)
    if not found:
        return items, request
    graph, _ = network_graph(part, items, structure)
    kernels: list[Kernel] = []
    for node, inputs in found:
        operation: Any = graph.nodes[node].operation
        lower = (
            Request(ntk=True, cov=True, diagonal_spatial=False, distance=True, end=below)
            for below in inputs
        )
        of_inputs = _whole_batches if operation.mixes_examples else _batches
        given = [of_inputs(items, one, evaluate) for one in lower]
        kernels.append(operation.of_batches(*given))
    replaced = tuple(node for node, _ in found)
    return [*items, *kernels], dataclasses.replace(request, replaced=replaced)


def _batches(items: list[Any], request: Request, evaluate: Evaluate) -> Kernel:
    """A kernel as it is, with those of each example with itself."""
    return evaluate(items, request)


def _whole_batches(items: list[Any], request: Request, evaluate: Evaluate) -> Kernel:
    """A kernel with those of each batch with itself, of all pairs of examples."""
    if any(isinstance(item, Kernel) for item in items):
        raise LayerError(
            "an operation along the batch axis needs the kernels of whole batches with themselves, "
            "which a Kernel does not hold; pass the inputs as arrays."
        )

    def alone(side: int) -> Any:
        return evaluate([(item[side], None) for item in items], request).nngp

    kernel = evaluate(items, request)
    is_symmetric = kernel.cov2 is None
    own = (kernel.nngp, None) if is_symmetric else (alone(0), alone(1))
    # Covariances of more pairs are no reason to drop the distance.
    return kernel.replace(cov1=own[0], cov2=own[1], distance=kernel.distance, diagonal_batch=False)
