"""Users' layers in a network: of one kernel, or of lists of them.

A layer that takes one kernel and returns one is a `Custom` operation, made tile by tile. One that
takes or returns lists, as a FanIn of a user's own does, is handed the kernels of whole batches:

    def kernel_fn(kernels, **kwargs):      # of [a, b], nested as the inputs of the layer are
        a, b = kernels
        return a.replace(nngp=a.nngp + b.nngp, ...)

Each kernel that it returns is a node of its own, which calls the function and takes that kernel.
"""

from typing import Any

import jax

from ntkjax._kernel.algebra.graph import Graph, Structure, Value, at_place, map_value
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.operation import BatchOperation, LayerError, operation, static
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.operations.combine import all_sources
from ntkjax._kernel.operations.kernels import Custom, example_kernel


@operation
class _OfLists(BatchOperation):
    """One of the kernels that a user's function makes of the kernels of all inputs."""

    custom: Custom
    structure: Value = static()
    output: int = static()
    source: str = static()

    mixes_examples = False

    def made(self, kernels: tuple[Kernel, ...]) -> Any:
        """What the function returns: kernels, nested as it pleases."""
        given = map_value(kernels.__getitem__, self.structure, list)
        return self.custom.returned(given)

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        examples = tuple(map(example_kernel, signals))
        found = jax.eval_shape(lambda: _kernels(self.made(examples))[self.output])
        sources = frozenset({self.source}) if found.is_gaussian else all_sources(signals)
        return Signal(
            found.shape1,
            found.shape2,
            found.batch_axis,
            found.channel_axis,
            found.is_gaussian,
            sources,
            is_alike=found.is_gaussian or all(signal.is_alike for signal in signals),
        )

    def of_batches(self, *kernels: Kernel) -> Kernel:
        kernel = _kernels(self.made(kernels))[self.output]
        kernel = kernel.reverse() if kernel.is_reversed else kernel
        for side in ("1", "2"):
            masks = [getattr(one, f"mask{side}") for one in kernels]
            shapes = {getattr(one, f"shape{side}") for one in (kernel, *kernels)}
            if len(shapes) == 1 and all(mask is not None for mask in masks):
                hidden = masks[0]
                for mask in masks[1:]:
                    hidden = hidden & mask
                kernel = kernel.replace(**{f"mask{side}": hidden})
        return kernel


def _kernels(result: Any) -> list[Kernel]:
    """The kernels that a user's function returned; refuses what is none."""
    leaves = jax.tree.leaves(result, is_leaf=lambda leaf: isinstance(leaf, Kernel))
    others = [type(leaf).__name__ for leaf in leaves if not isinstance(leaf, Kernel)]
    if others or not leaves:
        raise LayerError(
            f"the user's kernel_fn returned {', '.join(others) or 'nothing'}, expected a Kernel or "
            "lists of Kernels; return `kernel.replace(...)` of one that it was given."
        )
    return leaves


@operation
class OwnLayer(Structure):
    """A user's layer, once it is known whether it takes or returns lists."""

    custom: Custom

    takes_lists = True

    def build(self, graph: Graph, value: Value, place: str) -> Value:
        if not isinstance(value, tuple) and not self._returns_list(graph.nodes[value].signal):
            return graph.add(self.custom, (value,), place)
        if self.custom.of_each:
            names = ", ".join(name for name, _ in self.custom.of_each)
            raise LayerError(
                f"{place}: takes or returns a list of inputs, and {names} brings an array for each "
                "example, which such a layer is not handed; give one value for all examples."
            )
        nodes: list[int] = []
        structure = map_value(lambda node: nodes.append(node) or len(nodes) - 1, value)
        examples = [example_kernel(graph.nodes[node].signal) for node in nodes]
        given = map_value(examples.__getitem__, structure, list)
        found = self._shapes_of(given, place)
        source, count = f"{place} [{len(graph.nodes)}]", iter(range(len(_kernels(found))))

        def added(result: Any) -> Value:
            if not isinstance(result, Kernel):
                return tuple(map(added, result))
            part = _OfLists(self.custom, structure, next(count), source)
            return graph.add(part, tuple(nodes), place)

        return added(found)

    def _shapes_of(self, given: Any, place: str) -> Any:
        """The kernels that it returns of such ones, without numbers."""
        try:
            with at_place(place):
                return jax.eval_shape(lambda: _checked(self.custom.returned(given)))
        except LayerError:
            raise
        except Exception as error:
            if not isinstance(given, list):
                raise
            raise LayerError(
                f"{place}: a list of {len(given)} inputs came, of whose kernels the user's "
                f"kernel_fn makes {type(error).__name__}: {error}; use parallel to give each input "
                "its own layer, or write the kernel_fn for a list."
            ) from error

    def _returns_list(self, signal: Signal) -> bool:
        """Whether it returns lists of one kernel; errors are those of `Custom`."""
        try:
            found = jax.eval_shape(lambda: _checked(self.custom.returned(example_kernel(signal))))
        except Exception:
            return False
        return isinstance(found, (list, tuple))


def _checked(result: Any) -> Any:
    _kernels(result)
    return result
