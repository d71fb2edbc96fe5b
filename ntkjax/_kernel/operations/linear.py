"""Collectors that are linear maps of positions: pools of all kinds."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.algebra.diagonals import Diagonals
from ntkjax._kernel.algebra.image import Image, on_positions
from ntkjax._kernel.algebra.operation import Collector, Context, Seen, Step
from ntkjax._kernel.algebra.pairs import Mixture, Pairs, mixed_distance
from ntkjax._kernel.algebra.sides import Row


class LinearCollector(Collector):
    """Base of operations z[P] = sum_i a_Pi x[p_i], whose weights a are known beforehand."""

    needs_energy = True
    works_unscaled = True

    def positions(self, image_map: Array, below: Diagonals, here: Diagonals) -> Array:
        """The operation on a map of positions of single images."""
        raise NotImplementedError

    def mass(self, below: Diagonals, here: Diagonals) -> np.ndarray:
        """The sum of the weights of each output position."""
        raise NotImplementedError

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, Mixture | None]:
        (image,), step = images, context.step
        if image.variance is None:
            return image, None
        here = step.here.cross
        mean = self.positions(image.variance, step.below, here)
        zero = here.row_index((0,) * here.ndim)
        mass = jnp.asarray(self.mass(step.below, here), mean.dtype)
        mixture = Mixture(
            mean, jnp.broadcast_to(mass[..., None], mean.shape), 0.5 * context.own.moment[zero]
        )
        return image.with_variance(mixture.variance()), mixture

    def masks(self, here: Row, below: Row | None, step: Step) -> Any:
        """Whether these are diagonals of equal positions."""
        return here.is_of_equal_positions if step.here.form.is_distance else None

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        (given,) = pairs
        if not step.here.form.is_distance:
            return given
        distance = mixed_distance(given.moment, seen.first, seen.second)
        if seen.same is not None:
            itself = seen.same & on_positions(seen.masks, seen.same.ndim)
            distance = jnp.where(on_positions(itself, distance.ndim), 0.0, distance)
        return Pairs(distance, given.ntk)
