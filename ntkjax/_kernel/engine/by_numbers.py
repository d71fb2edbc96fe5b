"""Derivatives by a handful of numbers of the network: W_std and b_std, a noise, a slope.

Gradients by the inputs go back through the network, which costs six to ten times the kernel. A
tangent that goes along with the kernel costs one and a half times; so the change of the kernel with
m numbers, where m is small and the inputs stay, is made beside it,

    dK = sum_k dK/da_k da_k,

and what is left for the way back are m sums of products with what comes of K. Layers of one number
count as one (see `algebra/shared.py`).
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.algebra.tangents import instantiated, is_zero

#: With so many numbers, tangents are cheaper than the way back.
MOST = 3


def by_numbers(program: Callable[[Any, Any], Any], part: Any, items: Any) -> Any:
    """`program(part, items)`, with a rule for its derivatives by few numbers of a network.

    Args:
      program: makes kernels, or other pytrees of arrays.
      part: the network, a pytree; numbers that are one object are one variable.
      items: the inputs, a pytree.
    """
    leaves, structure = jax.tree.flatten(part)
    distinct = {id(leaf): leaf for leaf in leaves}
    places = {key: i for i, key in enumerate(distinct)}
    which, numbers = [places[id(leaf)] for leaf in leaves], list(distinct.values())

    def plain(numbers: list[Any], items: Any) -> Any:
        return program(structure.unflatten([numbers[i] for i in which]), items)

    # What functions of the network hold, such as a decay of a traced length, is numbers as well.
    plain, held = jax.closure_convert(plain, numbers, items)
    count = len(numbers)

    def of(numbers: list[Any], items: Any) -> Any:
        return plain(numbers[:count], items, *numbers[count:])

    made = jax.custom_jvp(of)
    made.defjvp(functools.partial(_jvp, of), symbolic_zeros=True)
    return made([*numbers, *held], items)


def _jvp(of: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]:
    (numbers, items), (of_numbers, of_items) = primals, tangents
    moving = [i for i, change in enumerate(of_numbers) if not is_zero(change)]
    directions = [jnp.asarray(of_numbers[i]) for i in moving]
    are_few = is_zero(of_items) and len(moving) <= MOST and not any(map(jnp.ndim, directions))
    if not are_few:
        return _plain_jvp(of, primals, tangents)

    def along(moved: list[Array]) -> Any:
        return of(_with(numbers, moving, moved), items)

    here = [jnp.asarray(numbers[i]) for i in moving]

    def change(direction: Array) -> Any:
        return jax.jvp(along, (here,), (list(direction),))

    made, changes = jax.vmap(change, out_axes=(None, 0))(jnp.eye(len(here), dtype=here[0].dtype))
    steps = jnp.stack(directions)

    def total(each: Array) -> Any:
        if each.dtype == jax.dtypes.float0:  # of what cannot change
            return np.zeros(each.shape[1:], each.dtype)
        return jnp.tensordot(steps.astype(each.dtype), each, 1)

    return made, jax.tree.map(total, changes)


def _plain_jvp(of: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]:
    """The rule of JAX, which leaves out what does not change."""
    leaves, structure = jax.tree.flatten(primals)
    changes = structure.flatten_up_to(tangents)
    moving = [i for i, change in enumerate(changes) if not is_zero(change)]

    def along(*moved: Any) -> Any:
        return of(*structure.unflatten(_with(leaves, moving, moved)))

    here, there = [leaves[i] for i in moving], [instantiated(changes[i]) for i in moving]
    return jax.jvp(along, tuple(here), tuple(there))


def _with(leaves: list[Any], places: list[int], others: Any) -> list[Any]:
    """A list with other entries at some places."""
    replaced = dict(zip(places, others, strict=True))
    return [replaced.get(i, leaf) for i, leaf in enumerate(leaves)]
