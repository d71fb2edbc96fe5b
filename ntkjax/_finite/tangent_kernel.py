"""J(x1) J(x2)' of one output of a network, block by block.

A block is what belongs to one place of the traced and diagonal axes, where y1 and y2 share their
place. Its rows are gradients of single outputs: `gradients(l, s)` is a pytree of those at paired
place l and shared place s, one for each example along the leading axis.
"""

import math
from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._finite.implementation import NtkImplementation
from ntkjax._finite.output_axes import OutputAxes

# Numbers held at once: beyond the first, blocks are computed one after the other; beyond the
# second, a Jacobian is not held at all (1 GiB in float64).
_AT_ONCE = 2**24
_JACOBIAN = 2**27


class Rows(NamedTuple):
    """A network on one batch: its outputs `(examples, *output)`, and gradients of single ones."""

    outputs: Callable[[Any], Array]
    gradients: Callable[[Array, Array], Any]
    examples: int


def tangent_kernel(
    axes: OutputAxes,
    params: Any,
    first: Rows,
    second: Rows | None,
    implementation: NtkImplementation,
) -> Array:
    """The kernel `(examples1, examples2, *kernel of a pair)`; x1 = x2 where `second` is None."""
    rows1 = math.prod(axes.paired_shape(axes.shape1)) * first.examples
    rows2 = math.prod(axes.paired_shape(axes.shape2)) * (second or first).examples
    size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    if implementation in (NtkImplementation.AUTO, NtkImplementation.STRUCTURED_DERIVATIVES):
        small = (rows1 + rows2) * size <= _JACOBIAN
        implementation = (
            NtkImplementation.JACOBIAN_CONTRACTION
            if small
            else NtkImplementation.NTK_VECTOR_PRODUCTS
        )
    if implementation == NtkImplementation.JACOBIAN_CONTRACTION:
        blocks = _contract_jacobians(axes, first, second, (rows1 + rows2) * size)
    else:
        blocks = _multiply_vectors(axes, params, first, second or first, size)
    return jax.vmap(jax.vmap(axes.assemble))(blocks)


def _contract_jacobians(axes: OutputAxes, first: Rows, second: Rows | None, size: int) -> Array:
    """Blocks `(examples1, examples2, shared, paired1, paired2)` from two Jacobians."""
    places1 = jnp.arange(math.prod(axes.paired_shape(axes.shape1)))
    places2 = jnp.arange(math.prod(axes.paired_shape(axes.shape2)))

    def block(shared: Array) -> Array:
        jacobian1 = jax.vmap(first.gradients, (0, None))(places1, shared)
        jacobian2 = jacobian1
        if second is not None:
            jacobian2 = jax.vmap(second.gradients, (0, None))(places2, shared)
        products = jax.tree.map(_inner_products, jacobian1, jacobian2)
        return reduce(jnp.add, jax.tree.leaves(products))

    blocks = _map(block, jnp.arange(math.prod(axes.shared_shape)), size)
    return blocks.transpose(2, 4, 0, 1, 3)


def _multiply_vectors(axes: OutputAxes, params: Any, first: Rows, second: Rows, size: int) -> Array:
    """Blocks `(examples1, examples2, shared, paired1, paired2)` from NTK-vector products."""
    places = math.prod(axes.paired_shape(axes.shape2))
    _, push = jax.linearize(first.outputs, params)

    def column(index: Array) -> Array:
        shared = index // places
        outputs = jax.vmap(push)(second.gradients(index % places, shared))
        return axes.select_shared(outputs, shared)

    count = math.prod(axes.shared_shape) * places
    columns = _map(column, jnp.arange(count), second.examples * size)
    blocks = columns.reshape(-1, places, *columns.shape[1:])
    return blocks.transpose(3, 2, 0, 4, 1)


def _inner_products(rows1: Array, rows2: Array) -> Array:
    """`(paired1, examples1, paired2, examples2)` from `(paired, examples, *parameter)` of each."""
    parameter = range(2, rows1.ndim)
    return jnp.tensordot(
        rows1, rows2, axes=(tuple(parameter), tuple(parameter)), precision=jax.lax.Precision.HIGHEST
    )


def _map(fn: Callable[[Array], Array], xs: Array, size: int) -> Array:
    """`fn` of each of `xs`, as many at a time as keep `size` numbers each within bounds."""
    together = max(1, _AT_ONCE // max(1, size))
    if together >= xs.shape[0]:
        return jax.vmap(fn)(xs)
    return jax.lax.map(fn, xs, batch_size=together)
