"""`summary`: a network as a table, a line for each layer."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax

from ntkjax._kernel.algebra.graph import Named, Parallel, Part, Repeat, Serial, Value, map_value
from ntkjax._kernel.arguments import shapes_of_plan
from ntkjax._kernel.arrays import default_float, describe
from ntkjax._kernel.kernel_fn import KernelFn
from ntkjax._kernel.plan.network import network_graph, network_plan
from ntkjax._kernel.plan.plan import Request
from ntkjax._layers.repetition import shapes_of_copies

_HEADER = ("layer", "path", "output shape", "parameters", "Gaussian", "diagonals", "weights")


@dataclasses.dataclass(frozen=True)
class LayerSummary:
    """One layer of a network.

    Attributes:
      name: of the layer.
      path: its place, as one finds its parameters: `params[2][0]` has the path (2, 0).
      shape: of its output; a list for several branches.
      parameters: of the finite network.
      is_gaussian: whether the outputs of the infinitely wide one are Gaussian, as a nonlinearity
        needs them.
      diagonals: how many diagonals of the kernel between positions are made there; 1 is that of
        equal positions.
      parameterization: "ntk" or "standard"; None of a layer without weights.
    """

    name: str
    path: tuple[int, ...]
    shape: Any
    parameters: int
    is_gaussian: bool
    diagonals: int
    parameterization: str | None

    def cells(self) -> tuple[str, ...]:
        """What the table shows."""
        return (
            self.name,
            ".".join(map(str, self.path)),
            str(self.shape),
            f"{self.parameters:,}",
            "yes" if self.is_gaussian else "no",
            f"{self.diagonals:,}",
            self.parameterization or "",
        )


@dataclasses.dataclass(frozen=True)
class Summary:
    """The layers of a network; prints as a table.

    Attributes:
      layers: a `LayerSummary` for each.
    """

    layers: tuple[LayerSummary, ...]

    @property
    def parameters(self) -> int:
        """Parameters of the finite network."""
        return sum(layer.parameters for layer in self.layers)

    def __repr__(self) -> str:
        rows = [_HEADER, *(layer.cells() for layer in self.layers)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:], rule, f"{self.parameters:,} parameters"])


def summary(network: Any, input_shape: Any) -> Summary:
    r"""A network as a table: a line for each layer.

    Args:
      network: a layer or a network, `(init_fn, apply_fn, kernel_fn)`.
      input_shape: shape of a batch of inputs, batch included; a list of shapes for a network with
        several inputs.

    Returns:
      A `Summary`, which prints as a table: each layer with the place of its parameters, the shape
      of its output, the number of its parameters in the finite network, whether its outputs are
      Gaussian in the limit, how many diagonals of the kernel between positions are made there (1
      for equal positions alone), and the parameterization of its weights. Nothing is computed.

    Raises:
      ValueError: a layer cannot take its input.
      TypeError: `network` is no network of layers of `ntkjax.stax`.

    Source: the tables of Keras (`Model.summary`) and Flax (`Module.tabulate`).

    Example:
      >>> import ntkjax
      >>> from ntkjax import stax
      >>> network = stax.serial(
      ...     stax.Conv(16, (3, 3), padding="SAME"), stax.Relu(), stax.Flatten(), stax.Dense(10))
      >>> ntkjax.summary(network, (8, 4, 4, 3))
      layer    path  output shape   parameters  Gaussian  diagonals  weights
      ----------------------------------------------------------------------
      Conv     0     (8, 4, 4, 16)  432         yes       1          ntk
      Relu     1     (8, 4, 4, 16)  0           no        1
      Flatten  2     (8, 256)       0           no        1
      Dense    3     (8, 10)        2,560       yes       1          ntk
      ----------------------------------------------------------------------
      2,992 parameters
    """
    is_triple = isinstance(network, tuple) and len(network) == 3
    init_fn, _, kernel_fn = network if is_triple else (None, None, None)
    if init_fn is None or not isinstance(kernel_fn, KernelFn):
        raise TypeError(
            f"summary: network={describe(network)}, expected a network of layers of ntkjax.stax; "
            "put a triple of your own into stax.serial(...)."
        )
    params = jax.eval_shape(lambda key: init_fn(key, input_shape)[1], jax.random.key(0))
    items, structure = shapes_of_plan(input_shape, None, default_float())
    request = Request(ntk=True, cov=False, diagonal_spatial=False)
    part = kernel_fn.part
    graph, values = network_graph(part, items, structure, intermediates=True)
    plan, _ = network_plan(part, items, structure, request)
    held: dict[tuple[str, Any], int] = {}
    for node, place in zip(plan.nodes, plan.places, strict=True):
        held.setdefault((node.place, node.signal), place.cross.count)

    def diagonals(node: int) -> int:
        made = graph.nodes[node]
        return held.get((made.place, made.signal), 0)

    lines = []
    for name, path, leaf, own, value in _layers(part, params, values, ()):
        nodes = jax.tree.leaves(map_value(lambda node: node, value, list))
        signals = [graph.nodes[node].signal for node in nodes]
        shapes = map_value(lambda node: _Shape(graph.nodes[node].signal.shape1), value, list)
        line = LayerSummary(
            name,
            path,
            shapes,
            sum(math.prod(a.shape) for a in jax.tree.leaves(own)),
            all(signal.is_gaussian for signal in signals),
            max(map(diagonals, nodes)),
            _parameterization(leaf),
        )
        lines.append(line)
    return Summary(tuple(lines))


class _Shape(tuple):
    """A shape, which is one thing and no branch of a value."""


def _layers(
    part: Part, params: Any, values: Value, path: tuple[int, ...]
) -> Iterator[tuple[str, tuple[int, ...], Part, Any, Value]]:
    """The layers of a network in order: name, path, part, parameters and values."""
    if isinstance(part, Repeat):
        params = shapes_of_copies(params, len(part.parts))
    if isinstance(part, Serial | Parallel):
        for i, (inner, own, value) in enumerate(zip(part.parts, params, values, strict=True)):
            yield from _layers(inner, own, value, (*path, i))
    else:
        name = part.name if isinstance(part, Named) else type(part).__name__
        yield name, path, part, params, values


def _parameterization(part: Part) -> str | None:
    """That of the weights of a layer, if it has some."""
    operations = part.parts if isinstance(part, Named) else (part,)
    kinds = [getattr(one, "is_standard", None) for one in operations]
    known = [kind for kind in kinds if kind is not None]
    return ("standard" if any(known) else "ntk") if known else None
