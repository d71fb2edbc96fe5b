"""The arrays that flow between layers.

The kernel of a pair of points is carried as the squared distance D = E (f(x)[p] - f(x')[q])^2
beside the variances v1[p], v2[q], because 1 - cos of two near-equal points, computed from a
covariance, has lost half of its digits. The covariance is (v1 + v2 - D) / 2. After the last
nonlinearity only the covariance is wanted, and it alone is carried.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from jax import Array

from ntkjax._kernel.diagonals import Diagonals, Shift, shifted


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pairs:
    """Kernels between images on one diagonal, or on several with an axis in front.

    `moment` is the distance or the covariance; `ntk` is None when it is not asked for.
    """

    moment: Array
    ntk: Array | None = None

    def map(self, fn: Callable[[Array], Array]) -> "Pairs":
        """The same linear operation on both arrays."""
        return jax.tree.map(fn, self)


def covariance(first: Array, second: Array, distance: Array) -> Array:
    """(v1 + v2 - D) / 2, the variances as seen by the pairs."""
    return 0.5 * (first + second - distance)


@dataclasses.dataclass(frozen=True)
class Row:
    """One cyclic diagonal at one place of the network.

    Attributes:
      grid: sizes and periods of the place.
      shift: the displacement along each axis; integers, or traced inside a loop over diagonals.
    """

    grid: Diagonals
    shift: Shift


@dataclasses.dataclass(frozen=True)
class Side:
    """How pairs see what belongs to one of their two images.

    A map `[position per axis ..., *lanes]` of the first image is seen at p, one of the second at
    the partner p + d.
    """

    is_second: bool

    def see(self, maps: Any, shift: Shift) -> Any:
        """Maps (a pytree of them) as pairs at displacement `shift` see them."""
        if not self.is_second:
            return maps
        return jax.tree.map(lambda image_map: shifted(image_map, shift), maps)


FIRST, SECOND = Side(False), Side(True)
