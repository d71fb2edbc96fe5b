"""`KernelFn`: the callable that users know as `kernel_fn`."""

import collections
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ntkjax._kernel.config import config
from ntkjax._kernel.evaluate import Resources, evaluate
from ntkjax._kernel.forecast import Forecast, forecast
from ntkjax._kernel.graph import Graph, Part, Value, build, map_value
from ntkjax._kernel.inputs import as_floats
from ntkjax._kernel.kernel import Kernel
from ntkjax._kernel.operation import LayerError
from ntkjax._kernel.plan import Plan, Request, make_plan
from ntkjax._kernel.signal import Signal

#: Fields of a kernel that `get` may name.
FIELDS = tuple(field.name for field in dataclasses.fields(Kernel))

#: Keywords of neural-tangents 0.6.5, and the values that mean "not used".
_UNUSED = {"pattern": (None,), "mask_constant": (None,), "diagonal_batch": (None, True)}


@dataclasses.dataclass(frozen=True, eq=False)
class KernelFn:
    """The kernel function of a layer or a network.

    Calling it gives the kernel of the infinitely wide network; see `__call__`.
    """

    part: Part
    label: str

    def __repr__(self) -> str:
        return f"kernel_fn of {self.label}"

    def __call__(
        self,
        x1: Any,
        x2: Any = None,
        get: str | tuple[str, ...] | None = None,
        *,
        diagonal_spatial: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """The kernel between two batches of inputs, or after the kernel of another network.

        Args:
          x1: inputs of shape (n1, ...), as the first layer's `batch_axis` and `channel_axis` say; a
            (nested) list of them for a network with several inputs; or a `Kernel` (or list).
          x2: the second batch, (n2, ...); None for the first one again.
          get: "nngp", "ntk" or another field of `Kernel`; a tuple of them; None for a `Kernel`.
          diagonal_spatial: where positions are left, whether to return only equal ones.
          **kwargs: `pattern`, `mask_constant`, `diagonal_batch` of neural-tangents, at their
            defaults; nothing else.

        Returns:
          An array, (n1, n2) or with positions (n1, n2, h, h, w, w); a named tuple of arrays; or a
          `Kernel`. A list of these for a network with several outputs.

        Raises:
          ValueError: a layer cannot take its input, or the inputs are not what the network takes.
          TypeError: an unknown keyword, or inputs that are no real numbers.
        """
        _check_keywords(kwargs)
        names = _field_names(get)
        request = _request(names, diagonal_spatial)
        inputs, structure = _inputs(x1, x2)
        try:
            kernels = _on_devices(self.part, inputs, structure, request)
        except LayerError as error:
            # The engine's own frames would bury the message.
            raise LayerError(str(error)) from None
        return jax.tree.map(
            lambda kernel: _pick(kernel, get, names),
            map_value(lambda kernel: kernel, kernels, list),
            is_leaf=lambda item: isinstance(item, Kernel),
        )

    def plan(
        self,
        shape1: Any,
        shape2: Any = None,
        get: str | tuple[str, ...] | None = None,
        *,
        diagonal_spatial: bool | None = None,
        dtype: Any = None,
    ) -> Forecast:
        """What a call would do: resolutions, diagonals, tiles, bytes, operations, time.

        Args:
          shape1: shape of x1; a (nested) list of shapes for a network with several inputs.
          shape2: shape of x2; None for x1 again.
          get: as in a call.
          diagonal_spatial: as in a call.
          dtype: of the inputs; None for JAX's own floating-point type.

        Returns:
          A `Forecast`, which prints as a table; nothing is computed.

        Raises:
          ValueError: a layer cannot take its input, or the shapes are not what the network takes.
        """
        dtype = jnp.zeros((), dtype or float).dtype

        def zeros(shape: Any) -> Any:
            if shape is None or not shape:
                return None
            if isinstance(shape, (list, tuple)) and not isinstance(shape[0], int):
                return [zeros(one) for one in shape]
            return jax.ShapeDtypeStruct(tuple(shape), dtype)

        names = _field_names(get)
        inputs, structure = _inputs(zeros(shape1), zeros(shape2), _one_shape)
        request = _request(names, diagonal_spatial)
        plan, _ = network_plan(self.part, inputs, structure, request)
        return forecast(plan, dtype.itemsize, _resources())


def _request(names: tuple[str, ...] | None, diagonal_spatial: bool | None) -> Request:
    """What is asked of the outputs, by the fields of a kernel."""
    return Request(
        ntk=names is None or "ntk" in names,
        cov=names is None or bool({"cov1", "cov2"} & set(names)),
        diagonal_spatial=bool(diagonal_spatial),
    )


def _check_keywords(kwargs: dict[str, Any]) -> None:
    """Refuse keywords that would be ignored."""
    for name, value in kwargs.items():
        if name not in _UNUSED:
            known = ", ".join(("x1", "x2", "get", "diagonal_spatial", *_UNUSED))
            raise TypeError(
                f"kernel_fn: unknown keyword argument {name!r}; it takes {known}. Parameters of a "
                "layer (such as W_std) are given where the layer is made."
            )
        if not any(value is unused for unused in _UNUSED[name]):
            raise ValueError(
                f"kernel_fn: {name}={value!r} is not supported; leave it out (at its default, "
                f"{_UNUSED[name][0]!r})."
            )


def _field_names(get: Any) -> tuple[str, ...] | None:
    """The fields that `get` asks for; None for all."""
    if get is None:
        return None
    names = (get,) if isinstance(get, str) else get
    if not isinstance(names, (tuple, list)) or not names or not all(n in FIELDS for n in names):
        raise ValueError(
            f"kernel_fn: get={get!r} is unknown; expected 'nngp', 'ntk', another of {FIELDS}, a "
            "non-empty tuple of these, or None for a Kernel with all of them."
        )
    return tuple(names)


@functools.cache
def _tuple_type(names: tuple[str, ...]) -> Any:
    """The named tuple of some fields; repeated names are told apart by their place."""
    return collections.namedtuple("KernelTuple", names, rename=True)


def _pick(kernel: Kernel, get: Any, names: tuple[str, ...] | None) -> Any:
    """What was asked for, of a whole kernel."""
    if names is None:
        return kernel
    values = [getattr(kernel, name) for name in names]
    return values[0] if isinstance(get, str) else _tuple_type(names)(*values)


def _inputs(x1: Any, x2: Any, one_input: Any = None) -> tuple[list[Any], Value]:
    """Flatten nested inputs into a list of (x1, x2) or kernels, and the structure they had."""
    one_input = one_input or _one_input
    flat: list[Any] = []

    def walk(a: Any, b: Any, name: str) -> Value:
        if isinstance(a, (list, tuple)):
            if b is not None and (not isinstance(b, (list, tuple)) or len(b) != len(a)):
                raise ValueError(
                    f"kernel_fn: x1{name} is a list of {len(a)} inputs, but x2{name} is "
                    f"{_describe(b)}; pass a list of {len(a)} inputs or None."
                )
            parts = [None] * len(a) if b is None else b
            return tuple(
                walk(u, v, f"{name}[{i}]") for i, (u, v) in enumerate(zip(a, parts, strict=True))
            )
        if isinstance(b, (list, tuple)):
            raise ValueError(
                f"kernel_fn: x2{name} is a list of {len(b)} inputs, but x1{name} is "
                f"{_describe(a)}; pass both as lists or both as arrays."
            )
        flat.append(one_input(a, b, name))
        return len(flat) - 1

    structure = walk(x1, x2, "")
    if not flat:
        raise ValueError("kernel_fn: x1 is an empty list; pass one array for each input.")
    _check_together(flat)
    return flat, structure


def _describe(x: Any) -> str:
    shape = getattr(x, "shape", None)
    return type(x).__name__ if shape is None else f"an array of shape {shape}"


def _one_input(a: Any, b: Any, name: str) -> Any:
    """One input: a kernel, or a pair of arrays of one dtype."""
    if isinstance(a, Kernel):
        if b is not None:
            raise ValueError(
                f"kernel_fn: x1{name} is a Kernel, which holds both batches already; leave x2 out."
            )
        return a
    first = as_floats(f"x1{name}", a)
    if b is None:
        return first, None
    if isinstance(b, Kernel):
        raise ValueError(f"kernel_fn: x2{name} is a Kernel; pass it as x1, and leave x2 out.")
    second = as_floats(f"x2{name}", b)
    dtype = jnp.promote_types(first.dtype, second.dtype)
    if first.ndim != second.ndim:
        raise ValueError(
            f"kernel_fn: x1{name} has shape {first.shape} but x2{name} has shape {second.shape}; "
            "both need the same axes."
        )
    return first.astype(dtype), second.astype(dtype)


def _one_shape(a: Any, b: Any, name: str) -> Any:
    """One input of a plan: a pair of shapes."""
    for side, shape in (("1", a), ("2", b)):
        if (side == "1" and shape is None) or (shape is not None and len(shape.shape) < 2):
            raise ValueError(
                f"plan: shape{side}{name} is {None if shape is None else shape.shape}, expected at "
                "least a batch and a channel axis, such as (64, 32, 32, 3)."
            )
    return a, b


def _check_together(flat: list[Any]) -> None:
    """All inputs must pair the same batch with itself, or all two batches."""
    symmetric = {_is_symmetric(item) for item in flat}
    if len(symmetric) > 1:
        raise ValueError(
            "kernel_fn: some inputs come with x2 and some without; give x2 for all, or for none."
        )


def _is_symmetric(item: Any) -> bool:
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
        graph.add_input(signal, is_kernel=isinstance(item, Kernel))
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
    return make_plan(graph, nodes, request, _is_symmetric(items[0])), places


def _resources() -> Resources:
    """What the settings allow now."""
    return Resources(config.budget(), config.local_devices())


def _on_devices(part: Part, items: list[Any], structure: Value, request: Request) -> Any:
    """The kernels, on all devices where the caller has not begun a program of their own."""
    resources = _resources()
    arrays = jax.tree.leaves((part, items))
    traced = any(isinstance(a, Tracer) for a in arrays)
    if traced or len(resources.devices) == 1:
        alone = dataclasses.replace(resources, devices=resources.devices[:1])
        return _compiled(part, items, structure, request, alone)
    homes = [device for a in jax.tree.leaves(items) for device in a.devices()]
    everywhere = NamedSharding(Mesh(np.array(resources.devices), ("tiles",)), PartitionSpec())
    part, items = jax.device_put((part, items), everywhere)
    kernels = _compiled(part, items, structure, request, resources)
    return jax.device_put(kernels, homes[0])


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _compiled(
    part: Part, items: list[Any], structure: Value, request: Request, resources: Resources
) -> Any:
    """The kernels of all outputs: one program for each network, shapes and request."""
    plan, places = network_plan(part, items, structure, request)
    kernels = evaluate(plan, dict(enumerate(items)), resources)
    return map_value(kernels.__getitem__, places)
