"""The triple that every layer is, ours or a user's own."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ntkjax._kernel.algebra.graph import Named, Part
from ntkjax._kernel.arrays import describe
from ntkjax._kernel.kernel_fn import KernelFn
from ntkjax._kernel.operations.kernels import Custom
from ntkjax._kernel.operations.own_layer import OwnLayer
from ntkjax._layers.masking import MaskFn, with_masks
from ntkjax._layers.traceable import Traceable


class Layer(NamedTuple):
    """A network, of one layer or of many.

    `init_fn(rng, input_shape)` draws the parameters of a finite network and returns its output
    shape and them; `apply_fn(params, inputs)` is that network; `kernel_fn(x1, x2, get)` is the
    kernel of the infinitely wide one.
    """

    init_fn: Callable[..., Any]
    apply_fn: Callable[..., Any]
    kernel_fn: Callable[..., Any]

    def __repr__(self) -> str:
        return label_of(self)

    @classmethod
    def named(
        cls, name: str, init_fn: Callable[..., Any], apply_fn: Callable[..., Any], kernel_fn: Any
    ) -> "Layer":
        """The triple, with the name of its layer on its functions, as neural-tangents puts it."""
        for fn in (init_fn, apply_fn):
            with contextlib.suppress(AttributeError):  # of what is no plain function
                fn.__name__ = name
        return cls(init_fn, apply_fn, kernel_fn)


def label_of(layer: Any) -> str:
    """How a layer reads in a `repr`."""
    kernel_fn = layer[2]
    if isinstance(kernel_fn, KernelFn):
        return kernel_fn.label
    return f"custom layer {getattr(kernel_fn, '__qualname__', kernel_fn)!s}"


def make_layer(
    name: str,
    arguments: str,
    parts: Sequence[Part],
    init_fn: Callable[..., Any],
    apply_fn: Callable[..., Any],
    axes: tuple[int, int | None] | None = None,
    mask_fn: MaskFn | None = None,
) -> Layer:
    """A layer of one or more kernel operations, under its public name.

    `apply_fn` is a function of arrays; that of the layer takes `mask_constant` as well, and hands
    it `mask` where inputs are masked. `mask_fn`, of the input's mask and shape, says where outputs
    are: as it stands, where the input is, or where all of several inputs are.
    """
    label = f"{name}({arguments})"
    apply_fn = with_masks(name, apply_fn, mask_fn)
    kernel_fn = KernelFn(Named(tuple(parts), name, axes), label)
    return Layer.named(name, init_fn, apply_fn, kernel_fn)


def part_of(layer: Any, combinator: str, position: int) -> Part:
    """The kernel operations of a layer; a user's own triple becomes one operation."""
    if not isinstance(layer, tuple) or len(layer) < 3 or not all(map(callable, layer[:3])):
        hint = "mind to call the layer, as in Relu()"
        if isinstance(layer, list):
            hint = f"unpack a list of layers, as in {combinator}(*layers)"
        raise TypeError(
            f"{combinator}: layer {position} is {describe(layer)}, expected a triple "
            f"(init_fn, apply_fn, kernel_fn) of functions; {hint}."
        )
    kernel_fn = layer[2]
    if isinstance(kernel_fn, KernelFn):
        return kernel_fn.part
    return Named((OwnLayer(Custom(Traceable(kernel_fn, *layer[:2]))),), "custom layer", (0, -1))
