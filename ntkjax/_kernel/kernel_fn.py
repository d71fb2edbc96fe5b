"""`KernelFn`: the callable that users know as `kernel_fn`."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ntkjax._jax_compat import is_concrete
from ntkjax._kernel.algebra.errors import UnsupportedLayerError
from ntkjax._kernel.algebra.graph import Part, Value
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.operation import LayerError
from ntkjax._kernel.arguments import (
    dtype_of,
    inputs_of_call,
    is_list_of_inputs,
    is_list_of_shapes,
    shapes_of_plan,
)
from ntkjax._kernel.arrays import default_float, describe, kernel_dtype
from ntkjax._kernel.config import config
from ntkjax._kernel.containers import container_after, container_of, filled
from ntkjax._kernel.engine.execute import carried_out
from ntkjax._kernel.get import answer, requested_names
from ntkjax._kernel.keywords import checked_keywords
from ntkjax._kernel.known_network import KnownNetwork, in_dtype
from ntkjax._kernel.options import with_axes, with_options
from ntkjax._kernel.plan.forecast import Forecast, forecast
from ntkjax._kernel.plan.network import network_plan
from ntkjax._kernel.plan.plan import Request
from ntkjax._kernel.same_batches import are_same, with_second, without_second

#: Fields of a kernel that `get` may name.
FIELDS = tuple(field.name for field in dataclasses.fields(Kernel))

#: The keywords that `kernel_fn` names.
_NAMED = (
    "x1", "x2", "get", "diagonal_batch", "diagonal_spatial", "intermediates", "mask_constant",
    "batch_axis", "channel_axis", "rng",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class KernelFn:
    """The kernel function of a layer or a network.

    Calling it gives the kernel of the infinitely wide network; see `__call__`.
    """

    part: Part
    label: str

    def __repr__(self) -> str:
        return f"kernel_fn of {self.label}"

    @functools.cached_property
    def _known(self) -> KnownNetwork:
        """What calls need to know of the network."""
        return KnownNetwork(self.part)

    @property
    def __name__(self) -> str:
        """The name of the layer."""
        return self.label.partition("(")[0]

    def __call__(
        self,
        x1: Any,
        x2: Any = None,
        get: str | tuple[str, ...] | None = None,
        *,
        pattern: Any = None,
        mask_constant: Any = None,
        diagonal_batch: bool | None = None,
        diagonal_spatial: bool | None = None,
        intermediates: bool = False,
        batch_axis: int | None = None,
        channel_axis: int | None = None,
        rng: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The kernel between two batches of inputs, or after the kernel of another network.

        Args:
          x1: inputs of shape (n1, ...), as the first layer's `batch_axis` and `channel_axis` say; a
            (nested) list or tuple of them for a network with several inputs; or a `Kernel` (or
            list). An input is an array of real numbers of any dtype, or nested lists of numbers.
          x2: the second batch, (n2, ...); None for the first one again. Batches of equal values
            are one batch.
          get: "nngp", "ntk" or another field of `Kernel`, in upper or lower case; a tuple of them;
            None for a `Kernel`.
          pattern: the graphs of `Aggregate`: an array with an entry for each example along the
            first axis, or a tuple (for x1, for x2).
          mask_constant: the value of entries of the inputs that are masked, which may be NaN; None
            for none. They count as zero, and a position all of whose channels are masked has no
            variance, neither there nor after any layer that keeps its place.
          diagonal_batch: whether `cov1` and `cov2` pair each example with itself alone; None for
            True.
          diagonal_spatial: where positions are left, whether to return only equal ones; None for
            False, but for True with `intermediates`, and after a `Kernel` of equal positions alone.
          intermediates: whether to return the kernels after all layers, in lists that are nested
            as the layers are: one for each `serial` and `parallel`. They are made together.
          batch_axis: axis of the examples of x1; None for that of the first layer.
          channel_axis: axis of the channels of x1; None for that of the first layer.
          rng: a random key, which has no effect on the kernel of an infinitely wide network.
          **kwargs: what layers of the network take beside the inputs: keywords that the `kernel_fn`
            of a layer of your own names. Of those that belong to the examples, a tuple (for x1,
            for x2) of arrays with an entry for each along the first axis.

        Returns:
          An array, (n1, n2) or with positions (n1, n2, h, h, w, w); a named tuple of arrays; or a
          `Kernel`. A list of these for a network with several outputs, or a tuple if these come of
          a tuple of inputs. It is float64 where `jax_enable_x64` is on, else float32;
          `ntkjax.config.dtype` can have the inputs decide. Of inputs that the caller has put on
          several devices, it is on the first one's.

        Raises:
          ValueError: a layer cannot take its input, or the inputs are not what the network takes.
          TypeError: a keyword that no layer takes, or inputs that are no real numbers.
        """
        names = requested_names(get, FIELDS, "a Kernel")
        if diagonal_spatial is None and _hold_equal_positions(x1):
            diagonal_spatial = True
        request = _request(names, diagonal_spatial, intermediates)
        container = container_of(x1, is_list_of_inputs)
        known = self._known
        part, kwargs = with_options(
            self.part, {"pattern": pattern, **kwargs}, x1, known.options, known.keywords
        )
        keywords = checked_keywords(known.keywords_of(part), _NAMED, kwargs)
        part = with_axes(part, container, batch_axis, channel_axis)
        inputs, structure = inputs_of_call(x1, x2, config.keeps_dtype, keywords, mask_constant)
        call = _Call(known, known.in_dtype(part, dtype_of(inputs)), structure, request)
        try:
            kernels = call.kernels(inputs)
            if diagonal_batch is False and request.cov:
                kernels = call.with_all_examples(kernels, inputs)
        except LayerError as error:
            # The engine's own frames would bury the message.
            raise type(error)(str(error)) from None
        is_one = intermediates or not isinstance(kernels, tuple)
        after = None if is_one else container_after(self.part, container)
        return filled(kernels, after, lambda kernel: _pick(kernel, get, names))

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
        batch_axis: int | None = None,
        channel_axis: int | None = None,
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
          batch_axis: as in a call.
          channel_axis: as in a call.
          **kwargs: as in a call, with shapes (of floats) or arrays.

        Returns:
          A `Forecast`, which prints as a table; nothing is computed.

        Raises:
          ValueError: a layer cannot take its input, or the shapes are not what the network takes.
        """
        kind = kernel_dtype(default_float() if dtype is None else dtype, config.keeps_dtype)
        names = requested_names(get, FIELDS, "a Kernel")
        request = _request(names, diagonal_spatial, intermediates)
        container = container_of(shape1, is_list_of_shapes)
        keywords = checked_keywords(self._known.keywords, _NAMED, kwargs)
        part = with_axes(self.part, container, batch_axis, channel_axis)
        inputs, structure = shapes_of_plan(shape1, shape2, kind, keywords, mask_constant)
        plan, _ = network_plan(in_dtype(part, kind), inputs, structure, request)
        return forecast(plan, kind.itemsize, config.resources())


@dataclasses.dataclass(frozen=True)
class _Call:
    """A network, where its inputs go, and what is asked of it."""

    known: KnownNetwork
    part: Part
    structure: Value
    request: Request

    def made(self, items: list[Any]) -> Any:
        """The kernels of inputs as they are."""
        return carried_out(self.part, items, self.structure, self.request, config.resources())

    def made_once(self, items: list[Any]) -> Any:
        """The kernels of two batches which are the same."""
        return _map_kernels(with_second, self.made(without_second(items)))

    def kernels(self, items: list[Any]) -> Any:
        """The kernels; of two batches which are the same, those of one."""
        same = are_same(items)
        # Under `grad`, batches are known to be equal, and still each is a variable of its own.
        if same is True and is_concrete(jax.tree.leaves(items)):
            return self.made_once(items)
        if same is None or same is False or not self.known.tells_examples_apart:
            return self.made(items)
        return jax.lax.cond(jnp.asarray(same), self.made_once, self.made, items)

    def with_all_examples(self, kernels: Any, items: list[Any]) -> Any:
        """The same kernels with covariances of each batch's examples with each other."""
        if any(isinstance(item, Kernel) for item in items):
            raise UnsupportedLayerError(
                "kernel_fn: diagonal_batch=False, but x1 is a Kernel, whose cov1 is of single "
                "examples; pass arrays, with the layers that made the kernel in front."
            )
        request = dataclasses.replace(self.request, nngp=True, ntk=False, cov=False, distance=False)
        alone = dataclasses.replace(self, request=request)
        first, second = (
            None if items[0][k] is None else alone.made([(item[k], None) for item in items])
            for k in (0, 1)
        )

        def of(kernel: Kernel, *own: Any) -> Kernel:
            covs = [None if k is None else k.nngp for k in (*own, None)[:2]]
            return dataclasses.replace(kernel, cov1=covs[0], cov2=covs[1], diagonal_batch=False)

        return _map_kernels(of, kernels, first, *([] if second is None else [second]))


def _map_kernels(fn: Callable[..., Kernel], *trees: Any) -> Any:
    """`fn` of the kernels at each place of some trees."""
    return jax.tree.map(fn, *trees, is_leaf=lambda item: isinstance(item, Kernel))


def _hold_equal_positions(x1: Any) -> bool:
    """Whether some input is a kernel of equal positions alone."""
    leaves = jax.tree.leaves(x1, is_leaf=lambda item: isinstance(item, Kernel))
    return any(isinstance(item, Kernel) and item.diagonal_spatial for item in leaves)


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
        nngp=names is None or "nngp" in names,
    )


def _pick(kernel: Kernel, get: Any, names: tuple[str, ...] | None) -> Any:
    """What was asked for, of a whole kernel."""
    if names is None:
        return kernel
    return answer(get, names, lambda name: getattr(kernel, name), "AnalyticKernel")
