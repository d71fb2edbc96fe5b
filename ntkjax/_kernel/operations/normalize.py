"""Divide by the standard deviation over channels (and positions): LayerNorm.

With n = 1 / sqrt(eps + mean of the variances over the normalised positions),

    K <- n1 n2 K,   D <- (n1 r1 - n2 r2)^2 + n1 n2 (D - (r1 - r2)^2),   Theta <- n1 n2 Theta

and r the square roots of the variances. Images held as g = f / s divide eps by s^2.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.algebra.errors import UnsupportedLayerError
from ntkjax._kernel.algebra.image import Image, new_scale, on_positions
from ntkjax._kernel.algebra.operation import (
    Context,
    RowOperation,
    Seen,
    Step,
    operation,
    static,
)
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.algebra.roots import safe_sqrt
from ntkjax._kernel.algebra.signal import Signal


@operation
class Normalize(RowOperation):
    """Divide by the standard deviation of single images."""

    eps: float | Array
    #: Spatial axes, by their order, over which the variance is averaged.
    over: tuple[int, ...] = static()

    gives_distance = True
    works_unscaled = True
    unmasks = False

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        if not signal.is_gaussian:
            raise UnsupportedLayerError(
                f"{signal.not_gaussian}, and only of Gaussian inputs is the mean over channels "
                "known to vanish; insert a Dense or Conv before it."
            )
        return signal

    def takes_distance(self, is_distance: bool) -> bool:
        return True

    def renews_scale(self, scales: tuple[int, ...]) -> bool:
        return True

    def of_image(
        self, images: tuple[Image, ...], context: Context
    ) -> tuple[Image, tuple[Array, Array]]:
        """The normalised images; n over their new scale, and r."""
        (image,), step = images, context.step
        var = image.required_variance()
        inverse = self._inverse(var, on_positions(image.scale, var.ndim), step, image.mask)
        std = safe_sqrt(var)
        if step.is_unscaled:
            return image.with_variance(jnp.square(inverse) * var), (inverse, std)
        size = (lax.stop_gradient(inverse * std))[step.here.cross.crop]
        scale = new_scale(size, context.ahead, tuple(range(step.below.ndim)))
        factor = inverse / on_positions(scale, var.ndim)
        return Image(scale, jnp.square(factor) * var, image.data), (factor, std)

    def _inverse(self, var: Array, scale: Array, step: Step, mask: Array | None) -> Array:
        """n, at every position: of f = s g, so that n g is normalised.

        Masked positions, of no variance, do not count among those over which it is averaged.
        """
        crop = [slice(None)] * step.below.ndim
        for axis in self.over:
            crop[axis] = slice(step.below.sizes[axis])
        held = var[tuple(crop)]
        if mask is None or not self.over:
            mean = jnp.mean(held, axis=self.over, keepdims=True)
        else:
            seen = self._seen(mask, held.shape, var.dtype)
            count = jnp.sum(seen, axis=self.over, keepdims=True)
            mean = jnp.sum(held, axis=self.over, keepdims=True) / jnp.maximum(count, 1.0)
        # Not eps / s^2, which XLA makes of eps / s / s: s^2 may vanish. At eps = 0, the derivative
        # with respect to eps counts as zero.
        total = mean + jnp.square(safe_sqrt(jnp.asarray(self.eps, var.dtype)) / scale)
        positive = total > 0
        root = jnp.sqrt(jnp.where(positive, total, 1.0))
        return jnp.broadcast_to(jnp.where(positive, 1 / root, 0.0), var.shape)

    def _seen(self, mask: Array, shape: tuple[int, ...], dtype: Any) -> Array:
        """1 where a position is not masked, and at positions that do not exist."""
        pad = [(0, length - size) for length, size in zip(shape, mask.shape, strict=True)]
        return 1 - jnp.pad(mask, pad).astype(dtype)

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        (given,), (n1, r1), (n2, r2) = pairs, seen.first, seen.second
        # Zero, exactly, where either variance is, however large its n.
        across = jnp.clip(given.moment - jnp.square(r1 - r2), 0.0, 4 * r1 * r2)
        distance = jnp.square(n1 * r1 - n2 * r2) + n1 * n2 * across
        return Pairs(distance, None if given.ntk is None else n1 * n2 * given.ntk)
