"""What is known, before any arithmetic, of the signal between two layers.

Shapes propagate once, here; every check that depends on shapes alone is made while they do, so that
an error names the layer that cannot take its input.
"""

import dataclasses
import math

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Signal:
    """Static description of the activations of one pair of batches.

    Attributes:
      shape1: shape of the activations of `x1`, batch and channels included.
      shape2: the same for `x2`.
      batch_axis: which axis runs over examples; never negative.
      channel_axis: which axis runs over channels; never negative.
      is_gaussian: whether the activations are a zero-mean Gaussian process with independent and
        identically distributed channels, which a nonlinearity needs of its input.
      sources: names of the random weights in which the activations are linear. Branches may be
        added only when they share none: otherwise their cross-covariance does not vanish.
      is_nonnegative: whether no covariance of theirs is negative, as after a ReLU: weights, biases
        and means over positions keep that.
      is_alike: whether all channels are identically distributed, as random weights make them (and
        as those of a Gaussian are, whatever this says). Not those of inputs, nor channels that come
        from different positions or branches.
      reason: what made the activations not Gaussian, for messages; empty for a nonlinearity.
    """

    shape1: Shape
    shape2: Shape
    batch_axis: int
    channel_axis: int
    is_gaussian: bool = False
    sources: frozenset[str] = dataclasses.field(default=frozenset(), compare=False)
    is_nonnegative: bool = False
    is_alike: bool = False
    reason: str = dataclasses.field(default="", compare=False)

    @property
    def has_alike_channels(self) -> bool:
        """Whether all channels are identically distributed."""
        return self.is_gaussian or self.is_alike

    @property
    def not_gaussian(self) -> str:
        """How to say that the activations are not Gaussian, and why."""
        why = f" (it is {self.reason})" if self.reason else ""
        return f"its input is not Gaussian{why}"

    @property
    def spatial_axes(self) -> tuple[int, ...]:
        """The axes that are neither batch nor channels, in order."""
        return tuple(
            axis
            for axis in range(len(self.shape1))
            if axis not in (self.batch_axis, self.channel_axis)
        )

    @property
    def sizes(self) -> Shape:
        """The number of positions along each spatial axis."""
        return tuple(self.shape1[axis] for axis in self.spatial_axes)

    @property
    def channels(self) -> int:
        """The number of channels of the finite network at this place."""
        return self.shape1[self.channel_axis]

    @property
    def layout(self) -> str:
        """Which axis is what, for messages."""
        return f"batch_axis={self.batch_axis}, channel_axis={self.channel_axis}"

    def with_sizes(self, sizes: Shape) -> "Signal":
        """The same signal at another spatial resolution."""
        shapes = [list(self.shape1), list(self.shape2)]
        for shape in shapes:
            for axis, size in zip(self.spatial_axes, sizes, strict=True):
                shape[axis] = size
        return dataclasses.replace(self, shape1=tuple(shapes[0]), shape2=tuple(shapes[1]))

    def with_channels(self, channels: int) -> "Signal":
        """The same signal with another number of channels."""
        shapes = [list(self.shape1), list(self.shape2)]
        for shape in shapes:
            shape[self.channel_axis] = channels
        return dataclasses.replace(self, shape1=tuple(shapes[0]), shape2=tuple(shapes[1]))

    def without_positions(self, channels: int, batch_axis: int) -> "Signal":
        """The signal after its spatial axes are gone, as (batch, channels) or (channels, batch)."""

        def shape(batch: int) -> Shape:
            return (batch, channels) if batch_axis == 0 else (channels, batch)

        return dataclasses.replace(
            self,
            shape1=shape(self.shape1[self.batch_axis]),
            shape2=shape(self.shape2[self.batch_axis]),
            batch_axis=batch_axis,
            channel_axis=1 - batch_axis,
        )

    @property
    def features(self) -> int:
        """Numbers per example: positions times channels."""
        return math.prod(self.sizes) * self.channels
