"""One batch of inputs of a call, and what else the call says of its images.

Of two graphs of four nodes with three features, called with their adjacency matrices:

    array   (2, 4, 3)                    as the caller laid it out
    data    {"pattern": (2, 4, 4)}       images in the first axis
    mask    None, or (2, 4, 3)           where an entry is masked, laid out as the array
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from ntkjax._kernel.algebra.kernel import Kernel


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KernelWithData(Kernel):
    """A kernel as an input of a call that brings arrays of its images.

    Attributes:
      data1: the arrays of first images, by the name of their keyword; images in the first axis.
      data2: those of second images.
    """

    data1: dict[str, Any] = dataclasses.field(default_factory=dict)
    data2: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, kernel: Kernel, data1: dict[str, Any], data2: dict[str, Any]) -> "KernelWithData":
        """A kernel and its data."""
        fields = {f.name: getattr(kernel, f.name) for f in dataclasses.fields(Kernel)}
        return cls(**fields, data1=data1, data2=data2)


def data_of_kernel(kernel: Kernel, side: int) -> dict[str, Any]:
    """The arrays of the images of one side that came with a kernel."""
    if not isinstance(kernel, KernelWithData):
        return {}
    return kernel.data2 if side else kernel.data1


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Batch:
    """One batch of inputs.

    Attributes:
      array: the examples, as the caller laid them out; of an input that is a kernel, the kernel,
        whose `cov1` holds the covariances of these images with themselves.
      data: further arrays of the images, by the name of the keyword that brought them; images are
        in the first axis.
      mask: which entries are masked (and zero), laid out as the array; of an input that is a
        kernel, as the shape of its activations, but for one channel.
    """

    array: Any
    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    mask: Any = None

    @classmethod
    def of(cls, given: Any) -> "Batch":
        """A batch as it is, or an array as a batch of which nothing else is known."""
        return given if isinstance(given, Batch) else cls(given)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the examples."""
        return self.array.shape

    @property
    def ndim(self) -> int:
        """The number of their axes."""
        return self.array.ndim

    @property
    def dtype(self) -> Any:
        """Their dtype."""
        return self.array.dtype

    @property
    def numbers(self) -> Any:
        """The examples, or the covariances of images with themselves."""
        return self.array.cov1 if isinstance(self.array, Kernel) else self.array

    @property
    def images_last(self) -> dict[str, Any]:
        """The further data as images hold them."""
        return jax.tree.map(lambda a: jnp.moveaxis(a, 0, -1), self.data)

    def moved(self, source: int, destination: int) -> "Batch":
        """The same with the axis of examples elsewhere."""
        array, mask = jax.tree.map(
            lambda a: jnp.moveaxis(a, source, destination), (self.array, self.mask)
        )
        return dataclasses.replace(self, array=array, mask=mask)
