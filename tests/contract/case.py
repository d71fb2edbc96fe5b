"""A public layer in a small network that it may stand in, with its twin."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from ntkjax.stax import serial, unmask_fn
from tests.contract import twins

WIDTH = 4

#: From a batch to what is passed in its place, and keywords of the call.
Call = Callable[[Any], tuple[Any, dict[str, Any]]]


@dataclasses.dataclass(frozen=True, eq=False)
class BoundKernelFn:
    """A `kernel_fn` that is called with batches alone."""

    kernel_fn: Any
    call: Call

    def __call__(self, x1: Any, x2: Any = None, get: Any = None, **kwargs: Any) -> Any:
        x1, first = self.call(x1)
        if x2 is None:
            return self.kernel_fn(x1, None, get, **first, **kwargs)
        x2, second = self.call(x2)
        both = {
            name: (value, second[name]) if hasattr(value, "shape") else value
            for name, value in first.items()
        }
        return self.kernel_fn(x1, x2, get, **both, **kwargs)

    def plan(self, shape1: Any, shape2: Any = None, *args: Any, **kwargs: Any) -> Any:
        """The plan of such a call."""
        shapes = (shape1, shape1 if shape2 is None else shape2)
        structs = (jax.ShapeDtypeStruct(shape, float) for shape in shapes)
        first, second = (jax.eval_shape(lambda x: self.call(x)[1], struct) for struct in structs)
        both = {name: (value, second[name]) for name, value in first.items()}
        return self.kernel_fn.plan(shape1, shape2, *args, **both, **kwargs)


def bound(network: Any, call: Call) -> Any:
    """A network as one that is called with batches alone, and returns arrays."""

    def apply_fn(params: Any, x: Any, **kwargs: Any) -> Any:
        x, keywords = call(x)
        return unmask_fn(network.apply_fn)(params, x, **keywords, **kwargs)

    return type(network)(network.init_fn, apply_fn, BoundKernelFn(network.kernel_fn, call))


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A network, what it stands for, and what it is compared with.

    Attributes:
      name: of the case, unlike all others.
      layers: the public layers that it stands for.
      network: its layers in a row, a function of their number of channels.
      twin: an independent computation of its kernels (see `twins`); or the reason why there is
        none, as a string.
      shape: of one example; a (nested) list of shapes for a network with several inputs.
      widths: of finite networks, which are compared with the kernel. Of two widths n and 2 n, the
        deviations are extrapolated to infinite width; one is enough where the mean over networks of
        width n has no bias, or one below 1 / n.
      call: what a call of the network is given for a batch of examples: the batch, perhaps another
        one of its shape, and keywords, those that belong to images by the image's number alone.
      is_finite: whether there is a finite network.
      draws: whether its finite network draws numbers for each example, as Dropout does: an example
        is then not the same as itself in another batch.
    """

    name: str
    layers: tuple[str, ...]
    network: Callable[[int], list[Any]]
    twin: twins.Twin | str
    shape: Any
    widths: tuple[int, ...] = (1024,)
    call: Call | None = None
    is_finite: bool = True
    draws: bool = False

    def built(self, width: int = WIDTH) -> Any:
        """The network as one triple."""
        return self.called(serial(*self.network(width)))

    def called(self, network: Any) -> Any:
        """A network as one that is called with batches alone, and returns arrays."""
        return network if self.call is None else bound(network, self.call)

    def __repr__(self) -> str:
        return self.name
