"""`KernelFn`: the callable that users know as `kernel_fn`."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkjax._kernel.algebra.graph import Part, map_value
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.operation import LayerError
from ntkjax._kernel.arguments import dtype_of, inputs_of_call, shapes_of_plan
from ntkjax._kernel.arrays import default_float, describe, kernel_dtype
from ntkjax._kernel.config import config
from ntkjax._kernel.engine.execute import carried_out
from ntkjax._kernel.get import answer, requested_names
from ntkjax._kernel.keywords import checked_keywords
from ntkjax._kernel.plan.forecast import Forecast, forecast
from ntkjax._kernel.plan.network import network_plan
from ntkjax._kernel.plan.plan import Request

#: Fields of a kernel that `get` may name.
FIELDS = tuple(field.name for field in dataclasses.fields(Kernel))

#: The keywords that `kernel_fn` names.
_NAMED = ("x1", "x2", "get", "diagonal_spatial", "intermediates", "mask_constant")


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
        intermediates: bool = False,
        mask_constant: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The kernel between two batches of inputs, or after the kernel of another network.

        Args:
          x1: inputs of shape (n1, ...), as the first layer's `batch_axis` and `channel_axis` say; a
            (nested) list of them for a network with several inputs; or a `Kernel` (or list). An
            input is an array of real numbers of any dtype, or nested lists of numbers.
          x2: the second batch, (n2, ...); None for the first one again.
          get: "nngp", "ntk" or another field of `Kernel`; a tuple of them; None for a `Kernel`.
          diagonal_spatial: where positions are left, whether to return only equal ones; None for
            False, and for True with `intermediates`.
          intermediates: whether to return the kernels after all layers, in lists that are nested
            as the layers are: one for each `serial` and `parallel`. They are made together.
          mask_constant: the value of entries of the inputs that are masked, which may be NaN; None
            for none. They count as zero, and a position all of whose channels are masked has no
            variance, neither there nor after any layer that keeps its place.
          **kwargs: arrays that layers of the network take beside the inputs, such as the `pattern`
            of `Aggregate`: with an entry for each example along the first axis, and a tuple
            (for x1, for x2) where the batches have different ones. `diagonal_batch` of
            neural-tangents may be given at its default.

        Returns:
          An array, (n1, n2) or with positions (n1, n2, h, h, w, w); a named tuple of arrays; or a
          `Kernel`. A list of these for a network with several outputs. It is float64 where
          `jax_enable_x64` is on, else float32; `ntkjax.config.dtype` can have the inputs decide.
          Of inputs that the caller has put on several devices, it is on the first one's.

        Raises:
          ValueError: a layer cannot take its input, or the inputs are not what the network takes.
          TypeError: a keyword that no layer takes, or inputs that are no real numbers.
        """
        keywords = checked_keywords(self.part, _NAMED, kwargs)
        names = requested_names(get, FIELDS, "a Kernel")
        request = _request(names, diagonal_spatial, intermediates)
        inputs, structure = inputs_of_call(x1, x2, config.keeps_dtype, keywords, mask_constant)
        part = _in_dtype(self.part, dtype_of(inputs))
        try:
            kernels = carried_out(part, inputs, structure, request, config.resources())
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
        intermediates: bool = False,
        dtype: Any = None,
        mask_constant: Any = None,
        **kwargs: Any,
    ) -> Forecast:
        """What a call would do: resolutions, diagonals, tiles, bytes, operations, time.

        Args:
          shape1: shape of x1; a (nested) list of shapes for a network with several inputs.
          shape2: shape of x2; None for x1 again.
          get: as in a call.
          diagonal_spatial: as in a call.
          intermediates: as in a call.
          dtype: of the inputs; None for JAX's own floating-point type.
          mask_constant: as in a call.
          **kwargs: as in a call, with shapes (of floats) or arrays.

        Returns:
          A `Forecast`, which prints as a table; nothing is computed.

        Raises:
          ValueError: a layer cannot take its input, or the shapes are not what the network takes.
        """
        kind = kernel_dtype(default_float() if dtype is None else dtype, config.keeps_dtype)
        names = requested_names(get, FIELDS, "a Kernel")
        request = _request(names, diagonal_spatial, intermediates)
        keywords = checked_keywords(self.part, _NAMED, kwargs)
        inputs, structure = shapes_of_plan(shape1, shape2, kind, keywords, mask_constant)
        plan, _ = network_plan(_in_dtype(self.part, kind), inputs, structure, request)
        return forecast(plan, kind.itemsize, config.resources())


def _in_dtype(part: Part, dtype: Any) -> Part:
    """The same network, its traced numbers in the dtype of the kernel, as Python's numbers are."""

    def converted(leaf: Any) -> Any:
        is_float = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, np.floating)
        return jnp.asarray(leaf, dtype) if is_float else leaf

    return jax.tree.map(converted, part)


def _request(
    names: tuple[str, ...] | None, diagonal_spatial: bool | None, intermediates: bool
) -> Request:
    """What is asked of the outputs, by the fields of a kernel."""
    if not isinstance(intermediates, bool):
        raise TypeError(
            f"kernel_fn: intermediates={describe(intermediates)}, expected True or False."
        )
    equal = intermediates if diagonal_spatial is None else bool(diagonal_spatial)
    return Request(
        ntk=names is None or "ntk" in names,
        cov=names is None or bool({"cov1", "cov2"} & set(names)),
        diagonal_spatial=equal,
        intermediates=intermediates,
        distance=names is None or "distance" in names,
    )


def _pick(kernel: Kernel, get: Any, names: tuple[str, ...] | None) -> Any:
    """What was asked for, of a whole kernel."""
    if names is None:
        return kernel
    return answer(get, names, lambda name: getattr(kernel, name), "KernelTuple")
