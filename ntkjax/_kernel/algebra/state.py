"""The arrays that flow between layers.

The kernel of a pair of points is carried as the squared distance D = E (f(x)[p] - f(x')[q])^2
beside the variances v1[p], v2[q], because 1 - cos of two near-equal points, computed from a
covariance, has lost half of its digits. The covariance is (v1 + v2 - D) / 2. After the last
nonlinearity only the covariance is wanted, and it alone is carried.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.algebra.diagonals import Diagonals, Shift, rings

#: For each spatial axis, how many entries a row holds before its first and after its last.
Halo = tuple[tuple[int, int], ...]
NO_HALO: Halo = ((0, 0),)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pairs:
    """Kernels between images on one diagonal, or on several with an axis in front.

    `moment` is the distance or the covariance; `ntk` is the tangent kernel, or its excess over the
    covariance, and None when it is not asked for or vanishes.
    """

    moment: Array
    ntk: Array | None = None

    def map(self, fn: Callable[[Array], Array]) -> "Pairs":
        """The same linear operation on both arrays."""
        return jax.tree.map(fn, self)


def added(tangent: Array | None, more: Array) -> Array:
    """A tangent kernel, which may vanish, and more."""
    return more if tangent is None else tangent + more


def added_at(total: Array, more: Array, place: Sequence[Any]) -> Array:
    """A total with more from `place` on, which XLA adds where it is."""
    held = lax.dynamic_slice(total, place, more.shape, allow_negative_indices=False)
    return lax.dynamic_update_slice(total, held + more, place, allow_negative_indices=False)


def covariance(first: Array, second: Array, distance: Array) -> Array:
    """(v1 + v2 - D) / 2, the variances as seen by the pairs."""
    return 0.5 * (first + second - distance)


@dataclasses.dataclass(frozen=True)
class Row:
    """A cyclic diagonal at one place of the network, or some that are made together.

    Attributes:
      grid: sizes and periods of the place.
      shift: the displacement along each axis: an integer, or one of a loop; of several diagonals,
        those of all of them in an array.
    """

    grid: Diagonals
    shift: Shift

    @property
    def several(self) -> bool:
        """Whether these are several diagonals."""
        return any(map(jnp.ndim, self.shift))


@dataclasses.dataclass(frozen=True)
class Side:
    """How pairs see what belongs to one of their two images.

    A map `[position per axis ..., *lanes]` of the first image is seen at p, one of the second at
    the partner p + d. It is laid out once for all diagonals, as far as it is seen at the same
    places on all of them; and then seen on some, which are lanes of their own where they are
    several (see `lanes.py`).

    Attributes:
      is_second: whether these are second images.
    """

    is_second: bool

    def laid_out(self, maps: Any, row: Row, halo: Halo, lead: int = 0) -> Any:
        """Maps (a pytree of them, with `lead` axes in front) for every displacement of `row`."""
        starts, lengths = [], []
        for period, d, (low, high) in zip(row.grid.periods, row.shift, halo, strict=True):
            moves = self.moves(d)
            starts.append((d - low if self.is_second and not moves else -low) % period)
            lengths.append(period if moves else period + low + high)
        return jax.tree.map(lambda array: rings(array, tuple(starts), lengths, lead), maps)

    def see(self, maps: Any, row: Row, halo: Halo, lead: int = 0) -> Any:
        """Maps that are laid out, as pairs on `row` see them, with a halo."""
        lengths = [n + low + high for n, (low, high) in zip(row.grid.periods, halo, strict=True)]

        def on(image_map: Array, *shift: Any) -> Array:
            starts = tuple(d if self.moves(d) else 0 for d in shift)
            return rings(image_map, starts, lengths, lead)

        def one(image_map: Array) -> Array:
            if not (row.several and self.is_second):
                return on(image_map, *row.shift)
            # Side by side, as `lanes.py` says.
            members = zip(*jnp.broadcast_arrays(*row.shift), strict=True)
            return jnp.concatenate([on(image_map, *shift) for shift in members], -1)

        return jax.tree.map(one, maps)

    def moves(self, shift: Any) -> bool:
        """Whether it is seen at displacements that are not known."""
        return self.is_second and not isinstance(shift, int)


def ringed(array: Array, periods: tuple[int, ...], halo: Halo) -> Array:
    """A row with a halo of its other end along every axis."""
    starts = tuple(-low % period for period, (low, _) in zip(periods, halo, strict=True))
    lengths = [low + period + high for period, (low, high) in zip(periods, halo, strict=True)]
    return rings(array, starts, lengths)


FIRST, SECOND = Side(False), Side(True)
