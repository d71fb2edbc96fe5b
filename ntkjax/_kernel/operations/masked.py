"""Masked positions: points of no variance, whatever the layers before would make of them.

Of a pair of points one of which is masked, K = Theta = 0, and the distance D = v1 + v2 is the
variance of the other one; of two masked points nothing is left. A layer with biases would give them
variance, so that `Masked` follows it.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.diagonals import Diagonals
from ntkjax._kernel.algebra.image import Image
from ntkjax._kernel.algebra.operation import Context, RowOperation, Seen, Step, operation
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.algebra.signal import Signal


class _Maps(NamedTuple):
    """What pairs need of an image."""

    kept: Array  # 1 where a position is not masked, else 0
    var: Array | None  # of the output; in distance form


def kept_map(image: Image, grid: Diagonals) -> Array:
    """1 where a position is not masked, else 0, as a map; also at positions that do not exist."""
    assert image.mask is not None
    pad = [(0, n - size) for size, n in zip(grid.sizes, grid.periods, strict=True)]
    return 1 - jnp.pad(image.mask, [*pad, (0, 0)]).astype(image.scale.dtype)


class OfMasked(RowOperation):
    """Base of operations that treat pairs with a masked point in another way."""

    carries_supplement = True
    unmasks = False

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        return signals[0]

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, _Maps]:
        (image,) = images
        kept = kept_map(image, context.step.below)
        if image.variance is not None:
            image = image.with_variance(kept * image.variance)
        return image, _Maps(kept, image.variance)


@operation
class Masked(OfMasked):
    """Make masked positions points of no variance."""

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        (given,), first, second = pairs, seen.first, seen.second
        both = first.kept * second.kept > 0
        ntk = None if given.ntk is None else jnp.where(both, given.ntk, 0.0)
        alone = first.var + second.var if step.here.form.is_distance else 0.0
        return Pairs(jnp.where(both, given.moment, alone), ntk)
