"""Lanes: how images and their pairs lie behind the positions.

The last axis of an array fills the vectors of a processor, so it should be long. Two second images,
on four diagonals that are made together, are eight lanes: the map of a second image is another
array on every diagonal, because its positions are displaced, and so it counts as another image.
Pairs are

    [position per axis ..., first image, (diagonal, second image)],

here with a last axis of 4 x 2 = 8 numbers. What second images contribute has the same last axis.
What first images contribute is kept as `[..., diagonal, image]`, because blocks take some of these
images at a time; it has one diagonal where it is alike on all. Images with themselves, which are no
pairs of two batches, are `[position per axis ..., (diagonal, image)]`.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.algebra.boundary import materialized
from ntkjax._kernel.algebra.sides import Side

#: Numbers of float32 in a vector of 512 bits, and in half of one. XLA computes what is left over
#: number by number.
VECTOR, _HALF = 16, 8


def filled(images: int, members: int = 1) -> int:
    """Round the number of images up so that, on so many diagonals together, they fill vectors.

    Twelve take no longer than sixteen, and less memory. On several diagonals, an odd number above
    eight takes longer than one more.
    """
    if images * members % _HALF == 0:
        return images + images % 2 if images > _HALF else images
    if images <= _HALF:
        return 1 << (images - 1).bit_length()
    return 12 if images <= 12 else -(-images // _HALF) * _HALF


def slowness(first: int, lanes: int) -> float:
    """Time for a pair on CPU where so many first images meet so many lanes, 1 where it is shortest.

    XLA makes a loop over the lanes and vectorizes it; one too short for that is unrolled, and then
    first images fill the vectors, if they come in fours. Measured for 1 to 20 first images and 1 to
    32 lanes, on convolutions with a pool and without: the figures vary by a quarter.
    """
    if lanes <= _HALF:
        if first % 4:
            return 2.5 if lanes == _HALF else 5.5
        return 1.0 if lanes == _HALF else 1.4
    return 1.0 if lanes % _HALF == 0 else 1.5


def diagonals_to_fill(images: int) -> int:
    """The number of diagonals on which so many images together fill whole vectors."""
    if images >= 2 * VECTOR:
        return 1
    return next(m for m in range(1, VECTOR + 1) if m * images >= VECTOR and m * images % _HALF == 0)


@dataclasses.dataclass(frozen=True)
class Lanes:
    """The lanes of pairs, on one diagonal or on several.

    Attributes:
      images: the numbers of first and of second images; of images with themselves, one number.
      members: the number of diagonals that are made together. One diagonal has no axis of its own.
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
        """Maps with a copy for each diagonal, also where these are alike."""
        if not self.several or side.is_second:
            return maps
        return jax.tree.map(lambda a: jnp.concatenate([a] * self.members, -1), maps)

    def apart(self, array: Array, side: Side, diagonals: int) -> Array:
        """A map as it is kept: of first images, with an axis of diagonals of its own."""
        if not self.several or side.is_second:
            return array
        return array.reshape(*array.shape[:-1], diagonals, -1)

    def of_masks(self, masks: dict[int, Any], side: Side) -> dict[int, Any]:
        """Masks `[..., diagonal]`, repeated for the images of a side; equal ones are repeated once.

        Pairs see them as second images do.
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
        """What the images of one side contribute, with axes of length 1 for the other side."""
        if not self.are_pairs:
            return maps if side.is_second else jax.tree.map(self._joined, maps)
        spread = self._along_second if side.is_second else self._along_first
        return jax.tree.map(spread, maps)

    def _joined(self, array: Array) -> Array:
        """`[..., diagonal, image]` with diagonals and images in one axis."""
        if not self.several:
            return array
        *axes, _, count = array.shape
        return jnp.broadcast_to(array, (*axes, self.members, count)).reshape(*axes, -1)

    def _along_second(self, array: Array) -> Array:
        return jnp.expand_dims(array, -2)

    def _along_first(self, array: Array) -> Array:
        if not self.several:
            return jnp.expand_dims(array, -1)
        if array.shape[-2] == 1:  # alike on all diagonals
            return array[..., 0, :, None]
        return _for_each_second(self.images[-1], array)

    def of_same(self, same: Array) -> Array:
        """Which pairs are of one image with itself, for every diagonal."""
        return jnp.tile(same, self.members) if self.several else same


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _for_each_second(count: int, array: Array) -> Array:
    """`[..., diagonal, first]` for so many second images: `[..., first, (diagonal, second)]`."""
    # `where`, not `repeat`: for a repeated array, XLA would compute an index for each number.
    diagonal = np.repeat(np.arange(array.shape[-2]), count)
    chosen = array[..., 0, :, None]
    for k in range(1, array.shape[-2]):
        chosen = jnp.where(diagonal >= k, array[..., k, :, None], chosen)
    return chosen


@_for_each_second.defjvp
def _for_each_second_jvp(count: int, primals: Any, tangents: Any) -> tuple[Array, Array]:
    (array,), (change,) = primals, tangents
    # Of this form, backwards, there is one sum over second images, and not one for each diagonal.
    repeated = jnp.repeat(jnp.swapaxes(change, -1, -2), count, -1)
    return _for_each_second(count, array), repeated


def member_of(rows: Array, member: int, members: int) -> Array:
    """One of several diagonals which are made together."""
    count = rows.shape[-1] // members
    return rows[..., member * count : (member + 1) * count]


def along_positions(mask: Any, ndim: int, axis: int, positions: int) -> Any:
    """A mask along one of the axes of positions, and of several diagonals along the lanes."""
    along = (mask.shape[0] if k == axis else 1 for k in range(positions))
    lanes = (*(1,) * (ndim - positions - 1), *(mask.shape[1:] or (1,)))
    return mask.reshape(*along, *lanes)
