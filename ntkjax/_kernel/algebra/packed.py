"""A network whose numbers lie in few arrays, so that a call hands over few.

Handing an array to a compiled program costs a microsecond, and a network of twenty layers has some
eighty numbers. In one vector they cost what one of them does:

    serial(Dense(1, 2.0, 0.1), Relu(), Dense(1, 1.5, 0.2))

is the vector (2.0, 0.1, 0.0, 1.0, 1.5, 0.2) and a layout, which says whose numbers they are.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.graph import Graph, Part, Structure, Value, build, build_all


class Layout:
    """Of which network arrays hold the numbers, and where each number lies.

    Layouts are compared at each call, and those of one network are one object.
    """

    def __init__(self, structure: Any, vectors: tuple[int | None, ...]):
        self.structure = structure
        #: Of each number of the network the vector whose next entry it is; None for the next array.
        self.vectors = vectors
        self._hash = hash((structure, vectors))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Layout) or self._hash != other._hash:
            return False
        return self.vectors == other.vectors and self.structure == other.structure


@jax.tree_util.register_pytree_node_class
class Packed(Structure):
    """A network, as its arrays followed by vectors of its scalars, and their layout."""

    def __init__(self, arrays: tuple[Any, ...], layout: Layout):
        self.arrays = arrays
        self.layout = layout

    def tree_flatten(self) -> tuple[tuple[Any, ...], Layout]:
        return self.arrays, self.layout

    @classmethod
    def tree_unflatten(cls, layout: Layout, arrays: Any) -> "Packed":
        return cls(tuple(arrays), layout)

    def opened(self) -> Part:
        """The network with its numbers in their places."""
        places = self.layout.vectors
        count = sum(place is None for place in places)
        arrays, vectors = iter(self.arrays[:count]), list(map(iter, self.arrays[count:]))
        numbers = [next(arrays if place is None else vectors[place]) for place in places]
        return jax.tree.unflatten(self.layout.structure, numbers)

    def build(self, graph: Graph, value: Value, place: str) -> Value:
        return build(self.opened(), graph, value, place)

    def build_all(self, graph: Graph, value: Value, place: str) -> tuple[Value, Value]:
        return build_all(self.opened(), graph, value, place)


def packed(part: Part) -> Packed:
    """A network whose numbers have values: the scalars of each type in one vector.

    Python's numbers are of a type of their own, which gives way to that of the arrays they meet.
    """
    leaves, structure = jax.tree.flatten(part)
    numbers = list(map(jnp.asarray, leaves))
    kinds = [None if number.ndim else (number.dtype, number.weak_type) for number in numbers]
    scalars: dict[Any, list[Array]] = {}
    for number, kind in zip(numbers, kinds, strict=True):
        if kind is not None:
            scalars.setdefault(kind, []).append(number)
    order = list(scalars)
    places = tuple(None if kind is None else order.index(kind) for kind in kinds)
    arrays = [number for number in numbers if number.ndim]
    return Packed((*arrays, *map(jnp.stack, scalars.values())), Layout(structure, places))
