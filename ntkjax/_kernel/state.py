"""The arrays that flow between layers.

The kernel of a pair of points is carried as the squared distance D = E (f(x)[p] - f(x')[q])^2
beside the variances v1[p], v2[q], because 1 - cos of two near-equal points, computed from a
covariance, has lost half of its digits. The covariance is (v1 + v2 - D) / 2. After the last
nonlinearity only the covariance is wanted, and it alone is carried.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.diagonals import Diagonals, along


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pairs:
    """Kernels between the images of two batches, on some diagonals.

    Exactly one of `distance` and `covariance` is held. `ntk` is None when it is not asked for.
    """

    distance: Array | None = None
    covariance: Array | None = None
    ntk: Array | None = None

    def map(self, fn: Callable[[Array], Array]) -> "Pairs":
        """The same linear operation on every array held."""
        return jax.tree.map(fn, self)

    @property
    def second_moment(self) -> Array:
        """Whichever of distance and covariance is held."""
        moment = self.distance if self.covariance is None else self.covariance
        assert moment is not None
        return moment

    def with_moment(self, moment: Array, ntk: Array | None) -> "Pairs":
        """The same kind of moment, with other values."""
        if self.covariance is None:
            return Pairs(distance=moment, ntk=ntk)
        return Pairs(covariance=moment, ntk=ntk)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class View:
    """How the pairs of one pairing see what belongs to a single image.

    `var1` and `var2` are maps `[position per axis ..., *lanes]` whose lanes broadcast against those
    of the pairs; None once only covariances are carried.
    """

    diagonals: Diagonals = dataclasses.field(metadata={"static": True})
    var1: Array | None
    var2: Array | None

    def first(self, image_map: Array) -> Array:
        """A map of the first image as the pairs see it: at p, on every row."""
        return image_map[(None,) * self.diagonals.ndim]

    def second(self, image_map: Array) -> Array:
        """A map of the second image as the pairs see it: at the partner p + d."""
        ndim = self.diagonals.ndim
        if ndim == 0:
            return image_map
        index = tuple(
            along(self.diagonals.partners(axis), 2 * ndim, axis, ndim + axis)
            for axis in range(ndim)
        )
        return image_map[index]

    def covariance(self, pairs: Pairs) -> Array:
        """(v1 + v2 - D) / 2, or the covariance itself where it is carried."""
        if pairs.covariance is not None:
            return pairs.covariance
        assert self.var1 is not None and self.var2 is not None
        return 0.5 * (self.first(self.var1) + self.second(self.var2) - pairs.distance)

    def as_covariance(self, pairs: Pairs) -> Pairs:
        """The same pairs, with the covariance in place of the distance."""
        return Pairs(covariance=self.covariance(pairs), ntk=pairs.ntk)

    def as_distance(self, covariance: Array) -> Array:
        """v1 + v2 - 2 K, for layers that know no better: it loses digits of near-equal points."""
        assert self.var1 is not None and self.var2 is not None
        distance = self.first(self.var1) + self.second(self.var2) - 2 * covariance
        return jnp.maximum(distance, 0.0)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
    """All that is known at one place of the network for a block of images.

    Attributes:
      var1: variances of the first batch, `[position per axis ..., n1]`; None in covariance form.
      var2: variances of the second batch; the same array when both batches are one.
      self1: kernel of each first image with itself on the diagonals that a later pool needs.
      self2: the same for the second batch.
      cross: the kernel of all pairs, lanes (n1, n2).
    """

    var1: Array | None
    var2: Array | None
    self1: Pairs | None
    self2: Pairs | None
    cross: Pairs
