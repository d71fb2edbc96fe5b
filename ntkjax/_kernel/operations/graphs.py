"""Aggregation along the edges of a graph that belongs to an image.

A node P is the sum of the nodes p with an edge to it, z[P] = sum_p w_pP x[p], so that

    K'[P, Q] = sum_pq w_pP w'_qQ K[p, q]

of a graph w of the first image and w' of the second (Du et al. 2019, arXiv 1905.13192, section 3).
Two nodes and an edge from 0 to 1: w = [[0, 1], [0, 0]], so z[0] = 0 and z[1] = x[0].
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.image import Image
from ntkjax._kernel.algebra.operation import LayerError, Step, operation, static
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.operations.whole import LinearMap

#: The keyword of `kernel_fn` that brings the graphs.
PATTERN = "pattern"
#: From the graphs of some images, in the first axis, to their matrices [image, tail, head].
Decode = Callable[[Array, tuple[int, ...]], Array]


@operation
class Aggregation(LinearMap):
    """Sum over the tails of all edges to a node, along some spatial axes."""

    #: The spatial axes, by their order, whose positions are the nodes of the graph.
    axes: tuple[int, ...] = static()
    #: Makes matrices of nodes, which are numbered in the order of positions, of the graphs.
    decode: Decode = static()

    keywords = (PATTERN,)

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        return dataclasses.replace(signals[0], is_nonnegative=False)

    def weights(self, image: Image, own: Any, step: Step) -> Array:
        if PATTERN not in image.data:
            raise LayerError(
                f"{PATTERN} belongs to the examples of the inputs, but a layer below acts along "
                "their axis; aggregate before it."
            )
        sizes, dtype = step.signal.sizes, image.scale.dtype
        nodes = tuple(sizes[axis] for axis in self.axes)
        graphs = self.decode(jnp.moveaxis(image.data[PATTERN], -1, 0), nodes)
        matrix = jnp.transpose(graphs, (2, 1, 0)).astype(dtype)  # [head, tail, image]
        return self._on_all_axes(matrix, sizes)

    def _on_all_axes(self, matrix: Array, sizes: tuple[int, ...]) -> Array:
        """The same along the axes of the graph for each position along the others."""
        others = tuple(axis for axis in range(len(sizes)) if axis not in self.axes)
        nodes = tuple(sizes[axis] for axis in self.axes)
        rest = tuple(sizes[axis] for axis in others)
        eye = jnp.eye(math.prod(rest), dtype=matrix.dtype)
        both = matrix[:, None, :, None, :] * eye[None, :, None, :, None]
        both = both.reshape(*nodes, *rest, *nodes, *rest, matrix.shape[-1])
        order, ndim = (*self.axes, *others), len(sizes)
        place = [order.index(axis) for axis in range(ndim)]
        both = jnp.transpose(both, (*place, *(ndim + k for k in place), 2 * ndim))
        return both.reshape(math.prod(sizes), math.prod(sizes), -1)
