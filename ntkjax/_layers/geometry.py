"""What convolutions of all kinds share: windows, layouts, and the shapes that follow from them."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.algebra.window import PADDINGS, Window
from ntkjax._layers.checks import Shape, check_choice, check_counts
from ntkjax._layers.finite import check_fits, sizes_after


@dataclasses.dataclass(frozen=True)
class Geometry:
    """The windows and layouts of a convolution.

    Attributes:
      layer: its name, for messages.
      taps: filter sizes, in the order of the filter's axes.
      strides: strides, in the same order.
      dilation: distances between taps, in the same order.
      padding: "SAME", "VALID" or "CIRCULAR".
      specs: layouts of input, filter and output in JAX's notation.
    """

    layer: str
    taps: Shape
    strides: Shape
    dilation: Shape
    padding: str
    specs: tuple[str, str, str]

    @classmethod
    def check(
        cls,
        layer: str,
        filter_shape: Sequence[int],
        strides: Sequence[int] | None,
        padding: str,
        dimension_numbers: tuple[str, str, str] | None,
        dilation: Sequence[int] | None = None,
    ) -> "Geometry":
        """From the arguments of a layer."""
        taps = check_counts(layer, "filter_shape", filter_shape)
        ndim = len(taps)
        ones = (1,) * ndim
        return cls(
            layer,
            taps,
            check_counts(layer, "strides", ones if strides is None else strides, ndim),
            check_counts(layer, "dilation", ones if dilation is None else dilation, ndim),
            check_choice(layer, "padding", padding, PADDINGS),
            _dimension_numbers(layer, dimension_numbers, ndim),
        )

    @property
    def size(self) -> int:
        """Taps of a whole window."""
        return math.prod(self.taps)

    @property
    def axes(self) -> tuple[int, int]:
        """Batch and channel axis of the image."""
        return self.specs[0].index("N"), self.specs[0].index("C")

    @property
    def order(self) -> tuple[int, ...]:
        """For each spatial axis of the image, which of the filter's it is."""
        lhs, rhs, _ = self.specs
        spatial = [c for c in rhs if c not in "IO"]
        return tuple(spatial.index(c) for c in lhs if c not in "NC")

    @property
    def image_axes(self) -> tuple[int, ...]:
        """The spatial axes of the image."""
        return tuple(i for i, c in enumerate(self.specs[0]) if c not in "NC")

    @property
    def windows(self) -> tuple[Window, ...]:
        """A window for each spatial axis of the image."""
        return tuple(
            Window(self.taps[i], self.strides[i], self.dilation[i], self.padding)
            for i in self.order
        )

    def channels(self, shape: Shape) -> int:
        """The channels of an image."""
        return shape[self.axes[1]]

    def check_rank(self, shape: Shape) -> None:
        """An image must have the spatial axes of the filter."""
        ndim = len(self.taps)
        if len(shape) != ndim + 2:
            raise ValueError(
                f"{self.layer}: its input of shape {shape} has {len(shape)} axes, but filter_shape "
                f"has {ndim} spatial ones and asks for {ndim + 2} (layout {self.specs[0]!r}); give "
                "a filter_shape with one entry for each spatial axis of the input."
            )

    def sizes(self, shape: Shape) -> Shape:
        """The positions of an image along each of its spatial axes."""
        self.check_rank(shape)
        return tuple(shape[axis] for axis in self.image_axes)

    def sizes_out(self, shape: Shape) -> Shape:
        """The positions after the windows have slid over an image."""
        sizes = self.sizes(shape)
        after = sizes_after(self.windows, sizes)
        check_fits(self.layer, sizes, after)
        return after

    def shape_out(self, shape: Shape, channels: int, sizes: Shape) -> Shape:
        """The shape of an image with other channels and positions."""
        after = list(shape)
        after[self.axes[1]] = channels
        for axis, size in zip(self.image_axes, sizes, strict=True):
            after[axis] = size
        return tuple(after)

    def weight_shape(self, inputs: int, outputs: int) -> Shape:
        """The shape of a filter."""
        filters = iter(self.taps)
        return tuple({"O": outputs, "I": inputs}.get(c) or next(filters) for c in self.specs[1])

    def bias_shape(self, channels: int) -> Shape:
        """The shape of biases, one a channel."""
        return tuple(channels if c == "C" else 1 for c in self.specs[0])

    def inputs_of(self, weights: Array) -> int:
        """The input channels that a filter reads."""
        return weights.shape[self.specs[1].index("I")]

    def __repr__(self) -> str:
        return f"{self.taps}, strides={self.strides}, padding='{self.padding}'"


def pad_images(
    images: Array, axes: tuple[int, ...], windows: tuple[Window, ...], value: Any = 0.0
) -> Array:
    """Pad so that the unpadded window sees what the padded one does: `value` outside the image."""
    for axis, window in zip(axes, windows, strict=True):
        size = images.shape[axis]
        before = window.before(size)
        after = (window.size_out(size) - 1) * window.stride + window.extent - size - before
        if window.is_circular:
            index = np.arange(-before, size + max(after, 0)) % size
            images = jnp.take(images, index, axis=axis)
        elif before > 0 or after > 0:
            pad = [(0, 0)] * images.ndim
            pad[axis] = (before, max(after, 0))
            images = jnp.pad(images, pad, constant_values=value)
    return images


def _dimension_numbers(layer: str, given: Any, ndim: int) -> tuple[str, str, str]:
    """Layouts of input, filter and output."""
    if given is None:
        spatial = "".join(chr(c) for c in range(ord("A"), ord("Z")) if chr(c) not in "NCIO")[:ndim]
        return f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"
    specs = tuple(given) if isinstance(given, (tuple, list)) else ()
    wanted = "three strings such as ('NHWC', 'HWIO', 'NHWC'), each naming every axis once"
    if len(specs) != 3 or not all(isinstance(spec, str) for spec in specs):
        raise ValueError(f"{layer}: dimension_numbers={given!r}, expected {wanted}.")
    lhs, rhs, out = specs
    spatial = [c for c in lhs if c not in "NC"]
    complete = set(lhs) == {*spatial, *"NC"} and set(rhs) == {*spatial, *"IO"}
    if not complete or len({len(lhs), len(rhs), len(set(lhs)), len(set(rhs)), ndim + 2}) > 1:
        raise ValueError(f"{layer}: dimension_numbers={given!r}, expected {wanted}.")
    if lhs != out:
        raise ValueError(
            f"{layer}: dimension_numbers={given!r} transpose the image; use the same layout for "
            f"input and output, here {lhs!r}."
        )
    return lhs, rhs, out
