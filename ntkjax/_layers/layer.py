"""The triple that every layer is, and the checks that layers share."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from ntkjax._kernel.algebra.graph import Named, Part
from ntkjax._kernel.kernel_fn import KernelFn
from ntkjax._kernel.operations.kernels import Custom

Shape = tuple[int, ...]


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
) -> Layer:
    """A layer of one or more kernel operations, under its public name."""
    label = f"{name}({arguments})"
    return Layer(init_fn, apply_fn, KernelFn(Named(tuple(parts), name, axes), label))


def part_of(layer: Any, combinator: str, position: int) -> Part:
    """The kernel operations of a layer; a user's own triple becomes one operation."""
    if not isinstance(layer, tuple) or len(layer) < 3 or not all(map(callable, layer[:3])):
        hint = "mind to call the layer, as in Relu()"
        if isinstance(layer, list):
            hint = f"unpack a list of layers, as in {combinator}(*layers)"
        raise TypeError(
            f"{combinator}: layer {position} is {layer!r}, expected a triple (init_fn, apply_fn, "
            f"kernel_fn) of functions; {hint}."
        )
    kernel_fn = layer[2]
    if isinstance(kernel_fn, KernelFn):
        return kernel_fn.part
    return Named((Custom(kernel_fn),), "custom layer", (0, -1))


def check_choice(layer: str, argument: str, value: Any, choices: Sequence[str]) -> str:
    """A string argument, in the spelling of its choices."""
    for choice in choices:
        if isinstance(value, str) and value.lower() == choice.lower():
            return choice
    raise ValueError(f"{layer}: {argument}={value!r} is unknown; expected one of {list(choices)}.")


def check_count(layer: str, argument: str, value: Any) -> int:
    """A positive integer argument."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value > 0:
        return int(value)
    raise ValueError(f"{layer}: {argument}={value!r}, expected a positive integer.")


def check_counts(layer: str, argument: str, values: Any, length: int | None = None) -> Shape:
    """A sequence of positive integers, one for each spatial axis."""
    if isinstance(values, (int, np.integer)) or not isinstance(values, (Sequence, np.ndarray)):
        raise ValueError(
            f"{layer}: {argument}={values!r}, expected a tuple with one positive integer for each "
            f"spatial axis, such as {argument}=(3, 3) for images."
        )
    counts = tuple(check_count(layer, f"{argument}[{i}]", v) for i, v in enumerate(values))
    if length is not None and len(counts) != length:
        raise ValueError(
            f"{layer}: {argument}={counts} has {len(counts)} entries, expected {length}, one for "
            "each spatial axis of the window."
        )
    return counts


def check_number(layer: str, argument: str, value: Any) -> float | Array:
    """A finite real number, or a traced or array scalar."""
    if isinstance(value, (str, bytes, complex, np.complexfloating)) or value is None:
        raise TypeError(f"{layer}: {argument}={value!r}, expected a real number.")
    if isinstance(value, (bool, int, float, np.generic, np.ndarray)):
        if np.ndim(value) or not np.isfinite(float(value)):
            raise ValueError(f"{layer}: {argument}={value!r}, expected a finite real number.")
        # A Python float takes the precision of the kernel; a NumPy scalar would impose its own.
        return float(value)
    if getattr(value, "shape", None) != ():
        raise ValueError(f"{layer}: {argument} has shape {value.shape}, expected a scalar.")
    return value


def show(value: Any) -> str:
    """A number in a `repr`."""
    return f"{value:g}" if isinstance(value, float) else str(value)
