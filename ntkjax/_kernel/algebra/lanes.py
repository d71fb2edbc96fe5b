"""Lanes: how images and their pairs lie behind the positions.

A second image is another one on every diagonal on which it is seen. So where several diagonals are
made together, the second images of all of them stand side by side, and few images fill the vectors
of a processor as many do:

    [position per axis ..., first image, (diagonal, second image)].

What single images contribute is `[position per axis ..., (diagonal, image)]`, but that of first
images is kept as `[..., diagonal, image]`, because pairs are made for some of these at a time; and
where it is alike on all diagonals, on one. Each image of a batch with itself is
`[position per axis ..., (diagonal, image)]`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.algebra.boundary import materialized
from ntkjax._kernel.algebra.sides import Side

#: Lanes that fill a vector of 512 bits, of which XLA leaves nothing over to go one by one.
VECTOR, _HALF = 16, 8


def filled(images: int) -> int:
    """So many images or a few more, which with others on some diagonals fill vectors."""
    return 1 << (images - 1).bit_length() if images <= _HALF else -(-images // 4) * 4


def diagonals_to_fill(images: int) -> int:
    """On how many diagonals so many images fill vectors; many images fill them on one."""
    if images >= 2 * VECTOR:
        return 1
    return next(m for m in range(1, VECTOR + 1) if m * images >= VECTOR and m * images % _HALF == 0)


@dataclasses.dataclass(frozen=True)
class Lanes:
    """The lanes of pairs, on one diagonal or on several.

    Attributes:
      images: how many first and second images, or how many images of a batch with themselves.
      members: how many diagonals are made together; one has no axis.
    """

    images: tuple[int, ...]
    members: int = 1

    @property
    def are_pairs(self) -> bool:
        """Whether these are pairs of two batches."""
        return len(self.images) > 1

    @property
    def several(self) -> bool:
        """Whether these are several diagonals."""
        return self.members > 1

    def on_each(self, maps: Any, side: Side) -> Any:
        """Maps as they are seen, once for each diagonal also where they are alike on all."""
        if not self.several or side.is_second:
            return maps
        return jax.tree.map(lambda a: jnp.concatenate([a] * self.members, -1), maps)

    def apart(self, array: Array, side: Side, diagonals: int) -> Array:
        """A map of so many diagonals as it is kept: of first images, with both axes apart."""
        if not self.several or side.is_second:
            return array
        return array.reshape(*array.shape[:-1], diagonals, -1)

    def of_masks(self, masks: dict[int, Any], side: Side) -> dict[int, Any]:
        """What depends on the diagonal alone, `[..., diagonal]`, as images see it; equal ones once.

        As those of the second side, so do pairs.
        """
        if not self.several:
            return masks
        count = self.images[-1 if side.is_second else 0]

        def repeat(masks: Any) -> Any:
            return jax.tree.map(lambda a: jnp.broadcast_to(a[..., None], (*a.shape, count)), masks)

        unique = {id(of_node): of_node for of_node in masks.values()}
        # Joined only when stored: within a loop, XLA would divide to find each number's place.
        place = {key: k for k, key in enumerate(unique)}
        stored = materialized(repeat, list(unique.values()))
        joined = jax.tree.map(lambda a: a.reshape(*a.shape[:-2], -1), stored)
        return {i: joined[place[id(of_node)]] for i, of_node in masks.items()}

    def spread(self, maps: Any, side: Side) -> Any:
        """What the images of one side contribute, as pairs see it."""
        if not self.are_pairs:
            return maps if side.is_second else jax.tree.map(self._joined, maps)
        spread = self._along_second if side.is_second else self._along_first
        return jax.tree.map(spread, maps)

    def _joined(self, array: Array) -> Array:
        """`[..., diagonal, image]` with both as one axis."""
        if not self.several:
            return array
        *axes, _, count = array.shape
        return jnp.broadcast_to(array, (*axes, self.members, count)).reshape(*axes, -1)

    def _along_second(self, array: Array) -> Array:
        return jnp.expand_dims(array, -2)

    def _along_first(self, array: Array) -> Array:
        if not self.several:
            return jnp.expand_dims(array, -1)
        # Chosen lane by lane; repeated, each number would be looked up anew.
        diagonal = np.repeat(np.arange(self.members), self.images[-1])
        chosen = array[..., 0, :, None]
        for k in range(1, array.shape[-2]):
            chosen = jnp.where(diagonal >= k, array[..., k, :, None], chosen)
        return chosen

    def of_same(self, same: Array) -> Array:
        """Which of some pairs are of one image with itself, on every diagonal."""
        return jnp.tile(same, self.members) if self.several else same


def member_of(rows: Array, member: int, members: int) -> Array:
    """One of several diagonals which are made together."""
    count = rows.shape[-1] // members
    return rows[..., member * count : (member + 1) * count]
