"""Whether both batches of a call are one batch, by their values.

A network that tells examples apart (Dropout draws numbers for each) has another kernel between an
example and itself than between two examples. So `kernel_fn(x, x.copy())` is `kernel_fn(x)`, which
takes half the time besides. Where JAX does not know the values yet, the compiled program decides.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._jax_compat import is_concrete
from ntkjax._kernel.algebra.batch import Batch
from ntkjax._kernel.algebra.graph import Part
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.operation import Operation
from ntkjax._kernel.arrays import is_on_host


def without_second(items: list[Any]) -> list[Any]:
    """The inputs of a call with one batch, of inputs whose two batches are the same."""
    return [
        item.replace(cov2=None, mask2=None, distance=item.distance)
        if isinstance(item, Kernel)
        else (item[0], None)
        for item in items
    ]


def with_second(kernel: Kernel) -> Kernel:
    """The kernel of one batch as that of two which are the same."""
    return dataclasses.replace(
        kernel, cov2=kernel.cov1, mask2=kernel.mask1, x1_is_x2=jnp.asarray(True)
    )


def are_same(items: list[Any]) -> bool | Array | None:
    """Whether there are two batches that are the same: True, False, or a traced boolean.

    None where the call has one batch.
    """
    found: list[Any] = []
    for item in items:
        if isinstance(item, Kernel):
            if item.cov2 is None:
                return None
            n1, n2 = (shape[item.batch_axis] for shape in (item.shape1, item.shape2))
            found.append(item.x1_is_x2 if n1 == n2 else False)
        elif item[1] is None:
            return None
        else:
            found.append(_equal(*item))
    if any(one is False or (is_concrete(one) and not bool(one)) for one in found):
        return False
    traced = [one for one in found if not is_concrete(one)]
    return jnp.all(jnp.stack(traced)) if traced else True


def tells_examples_apart(part: Part) -> bool:
    """Whether the kernel of an example with itself is another one than with its copy."""
    found: list[bool] = []

    def visit(node: Any) -> bool:
        found.append(isinstance(node, Operation) and getattr(node, "tells_examples_apart", False))
        return False

    jax.tree.leaves(part, is_leaf=visit)
    return any(found)


def _equal(first: Batch, second: Batch) -> Any:
    """Whether two batches are equal, with their data and masks; a boolean, perhaps traced."""
    pairs = list(zip(*(jax.tree.leaves(b) for b in (first, second)), strict=True))
    if any(a.shape != b.shape for a, b in pairs):
        return False
    if not is_concrete(pairs):
        return jnp.all(jnp.stack([jnp.all(a == b) for a, b in pairs]))
    return all(a is b or _equal_values(a, b) for a, b in pairs)


def _equal_values(first: Array, second: Array) -> bool:
    """Whether two arrays that have values hold the same ones, also within a program of a caller."""
    # As a rule the first examples differ, and nothing else is looked at.
    if is_on_host(first) and is_on_host(second):
        a, b = np.asarray(first), np.asarray(second)
        return np.array_equal(a[:1], b[:1]) and np.array_equal(a, b)
    with jax.ensure_compile_time_eval():
        return bool(jnp.array_equal(first[:1], second[:1])) and bool(jnp.array_equal(first, second))
