"""Divide by the standard deviation over channels (and positions): LayerNorm.

With n = 1 / sqrt(eps + mean of the variances over the normalised positions),

    K <- n1 n2 K,   D <- (n1 r1 - n2 r2)^2 + n1 n2 (D - (r1 - r2)^2),   Theta <- n1 n2 Theta

and r the square roots of the variances. Images held as g = f / s divide eps by s^2. Where the mean
is over the examples of a batch as well, all of these have the same n.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from ntkjax._kernel.algebra.errors import UnsupportedLayerError
from ntkjax._kernel.algebra.image import Image, new_scale, on_positions
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.operation import (
    BatchOperation,
    Context,
    RowOperation,
    Seen,
    Step,
    operation,
    static,
)
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.algebra.roots import clipped, safe_sqrt
from ntkjax._kernel.algebra.signal import Signal


def _gaussian(signals: tuple[Signal, ...]) -> Signal:
    """The one input, which must be Gaussian."""
    (signal,) = signals
    if not signal.is_gaussian:
        raise UnsupportedLayerError(
            f"{signal.not_gaussian}, and only of Gaussian inputs is the mean over channels "
            "known to vanish; insert a Dense or Conv before it."
        )
    return signal


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
        return _gaussian(signals)

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
        across = clipped(given.moment - jnp.square(r1 - r2), 4 * r1 * r2)
        distance = jnp.square(n1 * r1 - n2 * r2) + n1 * n2 * across
        return Pairs(distance, None if given.ntk is None else n1 * n2 * given.ntk)


@operation
class NormalizeBatch(BatchOperation):
    """Divide by the standard deviation over the examples of a batch, and over positions."""

    eps: float | Array
    #: Spatial axes, by their order, over which the variance is averaged.
    over: tuple[int, ...] = static()

    unmasks = False

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        return _gaussian(signals)

    def of_batches(self, *kernels: Kernel) -> Kernel:
        (kernel,) = kernels
        cov1: Any = kernel.cov1
        seen1, seen2 = (_seen(kernel, mask) for mask in (kernel.mask1, kernel.mask2))
        one = self._inverse(cov1, seen1)
        two = one if kernel.cov2 is None else self._inverse(kernel.cov2, seen2)

        def scaled(cov: Any, first: Array, second: Array, lead: int = 2) -> Any:
            if cov is None:
                return None
            return _interleaved(first, 0, lead) * _interleaved(second, 1, lead) * cov

        def alone(cov: Any, inverse: Array) -> Any:
            own = None if cov is None else jnp.moveaxis(jnp.diagonal(cov), -1, 0)
            return scaled(own, inverse, inverse, 1)

        return kernel.replace(
            nngp=scaled(kernel.nngp, one, two),
            ntk=scaled(kernel.ntk, one, two),
            cov1=alone(cov1, one),
            cov2=alone(kernel.cov2, two),
            distance=kernel.distance,  # of activations of unit variance, which no factor changes
            diagonal_batch=True,
        )

    def _inverse(self, cov: Array, seen: Array | None) -> Array:
        """n, (1, positions ...), of the covariances of a batch with itself.

        Masked positions, of no variance, do not count among those over which it is averaged.
        """
        var = jnp.diagonal(cov)
        for _ in range(cov.ndim // 2 - 1):  # pairs of axes come in front, their diagonals go last
            var = jnp.diagonal(var)
        axes = 0, *(1 + axis for axis in self.over)
        mean = jnp.mean(var, axis=axes, keepdims=True)
        if seen is not None:
            count = jnp.sum(seen.astype(var.dtype), axis=axes, keepdims=True)
            mean = jnp.sum(var, axis=axes, keepdims=True) / jnp.maximum(count, 1.0)
        total = mean + jnp.asarray(self.eps, mean.dtype)
        positive = total > 0
        return jnp.where(positive, 1 / jnp.sqrt(jnp.where(positive, total, 1.0)), 0.0)


def _seen(kernel: Kernel, mask: Array | None) -> Array | None:
    """Where activations are not masked, (n, positions ...)."""
    if mask is None:
        return None
    axes = kernel.batch_axis, kernel.channel_axis
    return ~jnp.squeeze(jnp.moveaxis(mask, axes, (0, -1)), -1)


def _interleaved(array: Array, side: int, lead: int) -> Array:
    """(1, h, w) as (1, 1, h, 1, w, 1), or as (1, 1, 1, h, 1, w) of the second side."""
    shape = [1] * lead
    for size in array.shape[1:]:
        shape += [size, 1] if side == 0 else [1, size]
    return array.reshape(shape)
