"""`KernelFn`: the callable that users know as `kernel_fn`."""

import collections
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from ntkjax._kernel.algebra.graph import Part, Value, map_value
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.operation import LayerError
from ntkjax._kernel.arguments import as_floats
from ntkjax._kernel.config import config
from ntkjax._kernel.engine.execute import carried_out
from ntkjax._kernel.plan.forecast import Forecast, forecast
from ntkjax._kernel.plan.network import is_symmetric, network_plan
from ntkjax._kernel.plan.plan import Request

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
            kernels = carried_out(self.part, inputs, structure, request, config.resources())
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
        return forecast(plan, dtype.itemsize, config.resources())


def _request(names: tuple[str, ...] | None, diagonal_spatial: bool | None) -> Request:
    """What is asked of the outputs, by the fields of a kernel."""
    return Request(
        ntk=names is None or "ntk" in names,
        cov=names is None or bool({"cov1", "cov2"} & set(names)),
        diagonal_spatial=bool(diagonal_spatial),
        distance=names is None or "distance" in names,
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
    symmetric = {is_symmetric(item) for item in flat}
    if len(symmetric) > 1:
        raise ValueError(
            "kernel_fn: some inputs come with x2 and some without; give x2 for all, or for none."
        )
