"""Linear maps of positions whose matrix is the same for all images, on whole kernels."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.image import Image
from ntkjax._kernel.algebra.operation import Context, LayerError, Step, operation, static
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.operations.whole import LinearMap


class FixedMap(LinearMap):
    """Base of such maps."""

    needs_self = False
    needs_energy = True
    unmasks = False

    def matrix(self, step: Step) -> Array:
        """A[P, p], positions of all spatial axes in one."""
        raise NotImplementedError

    def weights(self, image: Image, own: Array | None, step: Step) -> Array:
        matrix = jnp.asarray(self.matrix(step), image.scale.dtype)
        return jnp.broadcast_to(matrix[..., None], (*matrix.shape, image.scale.shape[-1]))

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, Any]:
        (image,) = images
        if image.variance is not None:
            return super().of_image(images, context)
        return image, self.of_weights(self.weights(image, None, context.step))


@operation
class MatrixMap(FixedMap):
    """The map of a known matrix, whose result has the given shapes and axes."""

    array: Array
    #: Of the result; a signal's own fields are compared, so that equal ones share a program.
    result: Signal = static()

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        return dataclasses.replace(
            self.result,
            is_gaussian=signal.is_gaussian,
            sources=signal.sources,
            is_nonnegative=False,
        )

    def matrix(self, step: Step) -> Array:
        return self.array

    def mask(self, masks: tuple[Array, ...], signal: Signal) -> Array:
        raise LayerError(
            "what its function makes of masked positions is not known; mask inputs of networks "
            "without this layer."
        )
