"""What belongs to one image at one place of a network.

Variances, scales, masks, graphs, lengths: all are arrays of single images, made once for each image
and seen by all of its pairs. They come from the input, or from a layer, and are cut with the tiles.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

#: The name among the data of an input's images of g itself, channels in front; it is there for the
#: operations right above the input alone.
VALUES = "values"

#: The name among the data of images of where positions are masked, `[position per axis ..., image]`
#: of the positions that exist; it is there where the call masks inputs.
MASK = "mask"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Image:
    """Images at one place, in the last axis or axes of every array.

    Attributes:
      scale: s of every image, `[*lanes]`: what is held is the kernel of g = f / s.
      variance: E g(x)[p]^2, `[position per axis ..., *lanes]`; None where covariances are held.
      data: further arrays of the images, by name; an operation that does not know a name passes it
        on. The images are in the last axis of each.
    """

    scale: Array
    variance: Array | None = None
    data: dict[str, Any] = dataclasses.field(default_factory=dict)

    def with_variance(self, variance: Array | None) -> "Image":
        """The same images of other variances."""
        return dataclasses.replace(self, variance=variance)

    def with_data(self, data: dict[str, Any]) -> "Image":
        """The same images with further data."""
        return dataclasses.replace(self, data=self.data | data)

    def without_values(self) -> "Image":
        """The same images, as operations further above the input see them."""
        data = {name: array for name, array in self.data.items() if name != VALUES}
        return dataclasses.replace(self, data=data)

    @property
    def mask(self) -> Array | None:
        """Where positions are masked, `[position per axis ..., image]`; None if nothing may be."""
        return self.data.get(MASK)

    def required_variance(self) -> Array:
        """The variance, where distances are held."""
        assert self.variance is not None
        return self.variance


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Ahead:
    """The affine maps that a scale will meet: a new one is chosen with them in mind.

    Attributes:
      weight_var: variance of the weights of the first one.
      bias_var: the largest variance of biases among them.
    """

    weight_var: Any = 1.0
    bias_var: Any = 0.0

    @staticmethod
    def std(variance: Any, dtype: Any) -> Array:
        """A standard deviation, as a constant to derivatives."""
        return jnp.sqrt(lax.stop_gradient(jnp.asarray(variance, dtype)))


def new_scale(std: Array, ahead: Ahead, axes: tuple[int, ...]) -> Array:
    """The scale of images whose outputs have these standard deviations, `[position ..., *lanes]`.

    s^2 = W^2 mean(std^2) + b^2 over the positions, the variance after the next affine map: images
    whose biases outweigh what they are added to are then alike. It is 1 where that would be 0, and
    never beyond the range of its dtype, so that a kernel may be infinite but is not NaN. No kernel
    depends on its scales, so they are constants to derivatives.
    """
    std = lax.stop_gradient(std)
    limits = jnp.finfo(std.dtype)
    weight, bias = (ahead.std(v, std.dtype) for v in (ahead.weight_var, ahead.bias_var))
    size = weight * root_mean_square(std, axes)
    large, small = jnp.maximum(size, bias), jnp.minimum(size, bias)
    ratio = small / jnp.where(large > 0, large, 1.0)
    scale = large * jnp.sqrt(1 + jnp.square(ratio))
    return jnp.where(scale > 0, jnp.clip(scale, limits.tiny, limits.max), 1.0)


def root_mean_square(array: Array, axes: tuple[int, ...]) -> Array:
    """The root of the mean square over some axes, also where squares overflow or vanish."""
    largest = jnp.max(jnp.abs(array), axes)
    divisor = jnp.where(largest > 0, largest, 1.0)
    parts = array / jnp.expand_dims(divisor, axes)
    return largest * jnp.sqrt(jnp.mean(jnp.square(parts), axes))


def combined_scale(scales: list[Array], ahead: Ahead) -> Array:
    """The scale of a sum of branches that have these scales."""
    bias = ahead.std(ahead.bias_var, scales[0].dtype)
    parts = jnp.stack([*scales, jnp.broadcast_to(bias, scales[0].shape)])
    most = jnp.finfo(parts.dtype).max
    return jnp.minimum(root_mean_square(parts, (0,)) * len(parts) ** 0.5, most)


def on_positions(scale: Array, ndim: int) -> Array:
    """A number of each image, `[*lanes]`, as a map of `ndim` axes: alike at all positions."""
    return scale.reshape(*(1,) * (ndim - scale.ndim), *scale.shape)
