"""Aggregate: sums along the edges of graphs, which come with the inputs."""

import dataclasses
import enum
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.algebra.graph import Graph, Structure, Value, single
from ntkjax._kernel.algebra.operation import LayerError, operation, static
from ntkjax._kernel.arrays import describe
from ntkjax._kernel.operations.graphs import PATTERN, Aggregation
from ntkjax._layers.checks import Shape, check_axes, check_axis
from ntkjax._layers.finite import axis_of, one_array, one_shape
from ntkjax._layers.layer import Layer, make_layer


class AggregateImplementation(enum.Enum):
    """How the graphs of `Aggregate` are given.

    Attributes:
      DENSE: as matrices of weights between nodes.
      SPARSE: as lists of edges.

    Source: Du et al. 2019, arXiv 1905.13192; the names are those of neural-tangents 0.6.5.

    Example:
      >>> AggregateImplementation("SPARSE").name
      'SPARSE'
    """

    DENSE = "DENSE"
    SPARSE = "SPARSE"


def as_it_is(pattern: Any) -> Any:
    """The same: dense patterns need no decoding."""
    return pattern


@operation
class _Aggregate(Structure):
    """Aggregation along axes of the array, whose meaning is known once the input is."""

    axes: tuple[int, ...] | None = static()
    graphs: Any = static()  # how they are given: `_Dense` or `_Sparse`

    keywords = (PATTERN,)

    def build(self, graph: Graph, value: Value, place: str) -> Value:
        if PATTERN not in graph.keywords:
            return value
        index = single(value, place)
        signal = graph.nodes[index].signal
        try:
            axes = node_axes(self.axes, signal.shape1, signal.batch_axis, signal.channel_axis)
            over = tuple(signal.spatial_axes.index(axis) for axis in axes)
            nodes = tuple(signal.shape1[axis] for axis in axes)
            for graphs, shape in zip(
                graph.keywords[PATTERN], (signal.shape1, signal.shape2), strict=True
            ):
                self.graphs.check(graphs, shape[signal.batch_axis], nodes)
        except ValueError as error:
            raise LayerError(f"{place}: {error}") from None
        return graph.add(Aggregation(over, self.graphs), (index,), place)


def node_axes(axes: Shape | None, shape: Shape, batch: int, channel: int) -> Shape:
    """The axes of the array whose positions are nodes, ascending."""
    spatial = tuple(axis for axis in range(len(shape)) if axis not in (batch, channel))
    if axes is None:
        return spatial
    found = tuple(sorted({axis_of("Aggregate", "aggregate_axis", a, shape) for a in axes}))
    if not set(found) <= set(spatial):
        raise ValueError(
            f"Aggregate: aggregate_axis={axes} must hold axes of positions alone, of an input of "
            f"shape {shape} with batch_axis={batch} and channel_axis={channel}; use axes among "
            f"{spatial}."
        )
    return found


def Aggregate(
    aggregate_axis: int | Sequence[int] | None = None,
    batch_axis: int = 0,
    channel_axis: int = -1,
    to_dense: Callable[[Any], Any] | None = as_it_is,
    implementation: str | AggregateImplementation = AggregateImplementation.DENSE,
) -> Layer:
    r"""Sum along the edges of a graph that belongs to each example.

    .. math::
        z[P] = \sum_p w_{p P}\, x[p], \qquad
        K'[P, Q] = \sum_{p, q} w_{p P}\, w'_{q Q}\, K[p, q],

    and the same for :math:`\Theta`, with :math:`w` the graph of the first example and :math:`w'`
    that of the second. The graphs come with the call: `apply_fn(params, x, pattern=w)`,
    `kernel_fn(x1, x2, pattern=(w1, w2))`; one value stands for both batches. Without a pattern the
    layer does nothing.

    With K axes of nodes, a dense pattern is an array (n, X1, ..., XK, X1, ..., XK) of the weights
    of edges from tails to heads. A sparse one is an integer array (n, edges, K, 2), or
    (n, edges, 2) for one axis: the coordinates of tail and head of every edge, whose weight is
    1; edges that occur several times add up, and an edge with a negative coordinate is left out, so
    that examples may have different numbers of them. Other numbers count modulo the size of
    their axis.

    Args:
      aggregate_axis: the axes whose positions are nodes; None for all but batch and channels. They
        count in ascending order.
      batch_axis: which axis of the input runs over examples.
      channel_axis: which axis of the input runs over channels.
      to_dense: makes dense patterns of what is passed as `pattern`, whose first axis runs over
        examples; of some examples at a time. Of no effect where the implementation is sparse.
      implementation: "DENSE" or "SPARSE", or a member of `AggregateImplementation`.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`, the latter two with the keyword `pattern`.

    Raises:
      ValueError: `implementation` is unknown; when called, an axis is none of positions, or the
        pattern has another shape.
      TypeError: an axis is no integer, `to_dense` no function, or a sparse pattern not of integers.

    Source: Du et al. 2019, arXiv 1905.13192 (graph neural tangent kernels), section 3.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, apply_fn, kernel_fn = stax.Aggregate()
      >>> x = jnp.array([[[1.0], [2.0]]])  # one graph of two nodes
      >>> edge = jnp.array([[[0.0, 1.0], [0.0, 0.0]]])  # from node 0 to node 1
      >>> apply_fn((), x, pattern=edge)[0, :, 0].tolist()
      [0.0, 1.0]
      >>> kernel_fn(x, get="nngp", pattern=edge)[0, 0].round(6).tolist()
      [[0.0, 0.0], [0.0, 1.0]]
    """
    axes = None if aggregate_axis is None else check_axes("Aggregate", "axis", aggregate_axis)
    batch_axis = check_axis("Aggregate", "batch_axis", batch_axis)
    channel_axis = check_axis("Aggregate", "channel_axis", channel_axis)
    try:
        is_sparse = AggregateImplementation(implementation) is AggregateImplementation.SPARSE
    except ValueError:
        known = [member.value for member in AggregateImplementation]
        raise ValueError(
            f"Aggregate: implementation={describe(implementation)} is unknown; expected one of "
            f"{known}."
        ) from None
    to_dense = as_it_is if to_dense is None else to_dense
    if not callable(to_dense):
        raise TypeError(f"Aggregate: to_dense={describe(to_dense)}, expected a function or None.")
    graphs = _Sparse() if is_sparse else _Dense(to_dense)

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[()]]:
        return one_shape("Aggregate", input_shape), ()

    def apply_fn(
        params: tuple[()], inputs: Array, *, pattern: Any = None, **kwargs: object
    ) -> Array:
        inputs = one_array("Aggregate", inputs)
        if pattern is None:
            return inputs
        pattern = jax.tree.map(jnp.asarray, pattern)
        batch = axis_of("Aggregate", "batch_axis", batch_axis, inputs.shape)
        channel = axis_of("Aggregate", "channel_axis", channel_axis, inputs.shape)
        over = node_axes(axes, inputs.shape, batch, channel)
        nodes = tuple(inputs.shape[axis] for axis in over)
        graphs.check(pattern, inputs.shape[batch], nodes)
        first = jnp.moveaxis(inputs, (batch, *over), range(1 + len(over)))
        flat = first.reshape(first.shape[0], math.prod(nodes), -1)
        if is_sparse:
            summed = jax.vmap(_passed_on)(flat, *_ends(pattern, nodes))
        else:
            matrix = graphs(pattern, nodes).astype(flat.dtype)
            summed = jnp.einsum("npc,npP->nPc", flat, matrix, precision=jax.lax.Precision.HIGHEST)
        return jnp.moveaxis(summed.reshape(first.shape), range(1 + len(over)), (batch, *over))

    parts = (_Aggregate(axes, graphs),)
    shown = "" if axes is None else f"{axes[0] if len(axes) == 1 else axes}"
    label = ", ".join(filter(None, (shown, "implementation='SPARSE'" if is_sparse else "")))
    return make_layer("Aggregate", label, parts, init_fn, apply_fn, (batch_axis, channel_axis))


@dataclasses.dataclass(frozen=True)
class _Dense:
    """Graphs as matrices of weights; makes matrices [image, tail, head] of nodes."""

    to_dense: Callable[[Any], Any]

    def __call__(self, pattern: Any, nodes: Shape) -> Array:
        matrix = jnp.asarray(self.to_dense(pattern))
        count = math.prod(nodes)
        return matrix.reshape(matrix.shape[0], count, count)

    def check(self, pattern: Any, count: int, nodes: Shape) -> None:
        """Refuse patterns of other shapes."""
        shape = jax.eval_shape(self.to_dense, pattern).shape
        if shape != (count, *nodes, *nodes):
            raise ValueError(
                f"Aggregate: pattern has shape {shape}, expected {(count, *nodes, *nodes)}: for "
                "each example the weights of edges from the positions in the first axes to those "
                "in the last; give to_dense for patterns of other shapes."
            )


@dataclasses.dataclass(frozen=True)
class _Sparse:
    """Graphs as lists of edges; makes the same matrices."""

    def __call__(self, pattern: Array, nodes: Shape) -> Array:
        count = math.prod(nodes)

        def of_image(tails: Array, heads: Array) -> Array:
            return jnp.zeros((count, count), np.int32).at[tails, heads].add(1, mode="drop")

        return jax.vmap(of_image)(*_ends(pattern, nodes))

    def check(self, pattern: Any, count: int, nodes: Shape) -> None:
        """Refuse patterns of other shapes, and what is not integer."""
        if not jnp.issubdtype(pattern.dtype, np.integer):
            raise TypeError(
                f"Aggregate: a sparse pattern has dtype {pattern.dtype}, expected integers, the "
                "coordinates of tails and heads; use implementation='DENSE' for weights."
            )
        shape, ndim = pattern.shape, len(nodes)
        wanted = [(count, *shape[1:2], ndim, 2)]
        if ndim == 1:
            wanted.append((count, *shape[1:2], 2))
        if shape not in wanted:
            raise ValueError(
                f"Aggregate: a sparse pattern has shape {shape}, expected ({count}, edges, {ndim}, "
                f"2): for each example and edge {ndim} coordinates of its tail and head."
            )


def _ends(pattern: Array, nodes: Shape) -> tuple[Array, Array]:
    """The numbers of tails and heads, (image, edge); of an edge to be left out beyond the last."""
    coordinates = pattern.reshape(*pattern.shape[:2], len(nodes), 2)
    kept = jnp.all(coordinates >= 0, (2, 3))
    number = jnp.zeros((*coordinates.shape[:2], 2), coordinates.dtype)
    for axis, size in enumerate(nodes):
        number = number * size + coordinates[:, :, axis] % size
    number = jnp.where(kept[..., None], number, math.prod(nodes))
    return number[..., 0], number[..., 1]


def _passed_on(values: Array, tails: Array, heads: Array) -> Array:
    """Sums at heads of the values at tails, (node, channel)."""
    sent = values.at[tails].get(mode="fill", fill_value=0)
    return jnp.zeros_like(values).at[heads].add(sent, mode="drop")
