"""How pairs on a diagonal see what belongs to one of their two images.

Four positions, displacement d = 1: the pair at p is of position p of the first image and of
position p + 1 of the second, where 0 follows 3. The variances of a first image are seen as they
are, v[0] v[1] v[2] v[3]; those of a second image as v[1] v[2] v[3] v[0].
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.algebra.diagonals import Diagonals, Shift, rings
from ntkjax._kernel.algebra.linear import LinearStep

#: For each spatial axis, how many entries a row holds before its first and after its last.
Halo = tuple[tuple[int, int], ...]
NO_HALO: Halo = ((0, 0),)


@dataclasses.dataclass(frozen=True)
class Row:
    """A cyclic diagonal at one place of the network, or several that are made together.

    Attributes:
      grid: sizes and periods of the place.
      shift: the displacement along each axis: an integer, or a traced one inside a loop; of
        several diagonals, an array of their displacements.
    """

    grid: Diagonals
    shift: Shift

    @property
    def several(self) -> bool:
        """Whether these are several diagonals."""
        return any(map(jnp.ndim, self.shift))

    @property
    def is_of_equal_positions(self) -> Array:
        """Whether positions meet themselves: a scalar, or for each of several diagonals."""
        zero = jnp.asarray(True)
        for d in self.shift:
            zero &= jnp.asarray(d) == 0
        return zero


@dataclasses.dataclass(frozen=True)
class Side:
    """How pairs see what belongs to one of their two images.

    A map `[position per axis ..., *lanes]` of the first image is seen at p, one of the second at
    its partner p + d. An axis of length 1, of a map that is alike at all positions, keeps this
    length. Whatever is the same on all diagonals is done once, by `laid_out`; then `see` moves the
    map to one diagonal, or to several, which lie side by side in the lanes (see `lanes.py`).

    Attributes:
      is_second: whether these are second images.
    """

    is_second: bool

    def laid_out(self, maps: Any, row: Row, halo: Halo, lead: int = 0) -> Any:
        """Maps (a pytree of them, with `lead` axes in front) as `see` takes them."""
        starts, lengths = [], []
        for period, d, (low, high) in zip(row.grid.periods, row.shift, halo, strict=True):
            moves = self.moves(d)
            starts.append((d - low if self.is_second and not moves else -low) % period)
            lengths.append(period if moves else period + low + high)
        return jax.tree.map(lambda a: _ringed_map(a, row.grid.periods, starts, lengths, lead), maps)

    def see(self, maps: Any, row: Row, halo: Halo, lead: int = 0) -> Any:
        """Maps that are laid out, as the pairs on `row` see them, with a halo."""
        lengths = [n + low + high for n, (low, high) in zip(row.grid.periods, halo, strict=True)]

        def on(image_map: Array, *shift: Any) -> Array:
            starts = [d if self.moves(d) else 0 for d in shift]
            if not any(map(self.moves, shift)):
                return _ringed_map(image_map, row.grid.periods, starts, lengths, lead)
            return _seen(row.grid.periods, tuple(lengths), lead, image_map, tuple(starts))

        def one(image_map: Array) -> Array:
            if not (row.several and self.is_second):
                return on(image_map, *row.shift)
            # Side by side, as `lanes.py` says.
            members = zip(*jnp.broadcast_arrays(*row.shift), strict=True)
            return jnp.concatenate([on(image_map, *shift) for shift in members], -1)

        return jax.tree.map(one, maps)

    def moves(self, shift: Any) -> bool:
        """Whether a map of this side moves by a displacement that a loop decides."""
        return self.is_second and not isinstance(shift, int)


def _seen(
    periods: tuple[int, ...], lengths: tuple[int, ...], lead: int, image_map: Array, starts: Any
) -> Array:
    """`_ringed_map` from starts that a loop decides.

    Backwards the halo is folded onto the entries that it repeats, then the whole is turned back:
    windows that read, not ones that are added into zeros.
    """
    shape = image_map.shape

    def seen(starts: Any, image_map: Array) -> Array:
        return _ringed_map(image_map, periods, starts, lengths, lead)

    def added_back(starts: Any, cotangent: Array) -> Array:
        for axis, period in enumerate(periods, lead):
            if cotangent.shape[axis] > shape[axis]:
                cotangent = _folded(cotangent, axis, period)
        back = tuple(-start % period for start, period in zip(starts, periods, strict=True))
        return _ringed_map(cotangent, periods, back, periods, lead)

    return LinearStep(seen, added_back)(starts, image_map)


def _folded(array: Array, axis: int, period: int) -> Array:
    """The sum of the parts of a row, each a period long and the last one shorter."""
    length = array.shape[axis]
    total = lax.slice_in_dim(array, 0, period, axis=axis)
    for start in range(period, length, period):
        part = lax.slice_in_dim(array, start, min(start + period, length), axis=axis)
        rest = [(0, 0)] * array.ndim
        rest[axis] = (0, period - part.shape[axis])
        total = total + jnp.pad(part, rest)
    return total


def _ringed_map(
    image_map: Array, periods: tuple[int, ...], starts: Any, lengths: Any, lead: int
) -> Array:
    """`rings`, except along axes of length 1, whose entry stands for all positions."""
    alike = [image_map.shape[lead + k] == 1 and period > 1 for k, period in enumerate(periods)]
    starts = tuple(0 if one else start for one, start in zip(alike, starts, strict=True))
    lengths = [1 if one else length for one, length in zip(alike, lengths, strict=True)]
    return rings(image_map, starts, lengths, lead)


def ringed(array: Array, periods: tuple[int, ...], halo: Halo) -> Array:
    """A row with a halo of its other end along every axis."""
    starts = tuple(-low % period for period, (low, _) in zip(periods, halo, strict=True))
    lengths = [low + period + high for period, (low, high) in zip(periods, halo, strict=True)]
    return rings(array, starts, lengths)


FIRST, SECOND = Side(False), Side(True)
