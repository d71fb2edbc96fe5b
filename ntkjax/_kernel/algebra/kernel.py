"""`Kernel`: the kernel of the activations at one place of a network, as users see it."""

import dataclasses
from typing import Any

import jax
from jax import Array

from ntkjax._kernel.algebra.kernel_methods import KernelMethods
from ntkjax._kernel.algebra.signal import Shape, Signal

#: The second key is how neural-tangents says the same.
_STATIC = {"static": True, "pytree_node": False}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Kernel(KernelMethods):
    r"""The kernel of a layer's activations (or of a network's outputs) for two batches of inputs.

    .. math::
        \mathrm{nngp} = E\, z(x_1) z(x_2), \qquad
        \mathrm{ntk} = \sum_\theta \partial_\theta z(x_1)\, \partial_\theta z(x_2),
        \qquad \mathrm{cov}_i = E\, z(x_i) z(x_i),

    each in the limit of infinite width. What `kernel_fn(x1, x2)` returns without `get`, and what
    the `kernel_fn` of another network takes in place of inputs.

    Args:
      nngp: covariance, shape (n1, n2) or, with positions of size h and w left, interleaved as
        (n1, n2, h, h, w, w); (n1, n2, h, w) where `diagonal_spatial`.
      ntk: neural tangent kernel, of the same shape; None if it was not asked for.
      cov1: covariance of each image of the first batch with itself, (n1,) or (n1, h, h, w, w).
      cov2: the same for the second batch; None when both batches are the same.
      x1_is_x2: boolean scalar, whether both batches are the same.
      is_gaussian: whether the activations are Gaussian with independent channels.
      is_reversed: whether the axes of positions come in the reverse order, as after `reverse`;
        `kernel_fn` returns and makes them in the order of the inputs.
      is_input: whether this is the kernel of the inputs themselves.
      diagonal_batch: whether `cov1` pairs each image with itself alone; (n1, n1, ...) where not.
      diagonal_spatial: whether only equal positions are held.
      shape1: shape of the activations of the first batch.
      shape2: shape of the activations of the second batch.
      batch_axis: batch axis of these shapes.
      channel_axis: channel axis of these shapes.
      mask1: which positions of the first batch are masked, True there, of `shape1` but for one
        channel; None where nothing is.
      mask2: the same for the second batch; None when both batches are the same.
      distance: E (z(x1) / r1 - z(x2) / r2)^2, with r the standard deviations: 2 (1 - cos) of the
        angle of two points, which keeps the digits that the covariance of nearly parallel points
        loses. It is 0 where a point is zero; None where it is not known.

    Returns:
      A pytree. `replace` returns a copy with other values, `asdict` and `astuple` the fields.
      `slice`, `mask`, `transpose`, `reverse`, `dot_general` and an index, `kernel[:, 1:]`, give the
      kernel of activations that the function of that name is applied to; `*`, `/`, `+` and `-` that
      of activations times a number, or with a random one of that standard deviation added.

    Raises:
      TypeError: `replace` of a field that does not exist.

    Source: Novak et al. 2020, arXiv 1912.02803, section 2; the field names are those of
    neural-tangents 0.6.5.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> _, _, kernel_fn = stax.Dense(1)
      >>> kernel = kernel_fn(jnp.ones((2, 3)), jnp.ones((4, 3)))
      >>> kernel.nngp.shape, kernel.cov1.shape, kernel.is_gaussian
      ((2, 4), (2,), True)
    """

    nngp: Array
    ntk: Array | None
    cov1: Array | None
    cov2: Array | None
    x1_is_x2: Array
    is_gaussian: bool = dataclasses.field(metadata=_STATIC)
    is_reversed: bool = dataclasses.field(metadata=_STATIC)
    is_input: bool = dataclasses.field(metadata=_STATIC)
    diagonal_batch: bool = dataclasses.field(metadata=_STATIC)
    diagonal_spatial: bool = dataclasses.field(metadata=_STATIC)
    shape1: Shape = dataclasses.field(metadata=_STATIC)
    shape2: Shape = dataclasses.field(metadata=_STATIC)
    batch_axis: int = dataclasses.field(metadata=_STATIC)
    channel_axis: int = dataclasses.field(metadata=_STATIC)
    mask1: Array | None = None
    mask2: Array | None = None
    distance: Array | None = None

    @classmethod
    def of_signal(
        cls, signal: Signal, *, diagonal_spatial: bool = False, **arrays: Any
    ) -> "Kernel":
        """A kernel with the static fields of a signal."""
        return cls(
            is_gaussian=signal.is_gaussian,
            is_reversed=False,
            is_input=False,
            diagonal_batch=True,
            diagonal_spatial=diagonal_spatial,
            shape1=signal.shape1,
            shape2=signal.shape2,
            batch_axis=signal.batch_axis,
            channel_axis=signal.channel_axis,
            **arrays,
        )

    def replace(self, **changes: Any) -> "Kernel":
        """A copy with some fields changed; new covariances make the old distance invalid."""
        # With another `diagonal_batch`, they are the same covariances in another layout.
        names = {"nngp"} if "diagonal_batch" in changes else {"nngp", "cov1", "cov2"}
        if names & set(changes) and "distance" not in changes:
            changes["distance"] = None
        return dataclasses.replace(self, **changes)

    def __mul__(self, factor: Any) -> "Kernel":
        """The kernel of the activations times a number."""
        return self._scaled(factor**2)

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> "Kernel":
        """The kernel of the activations divided by a number."""
        return self._scaled(1 / divisor**2)

    def __neg__(self) -> "Kernel":
        """The kernel of the activations with the other sign, which is the same."""
        return self

    def _scaled(self, factor: Any) -> "Kernel":
        given = {name: getattr(self, name) for name in ("nngp", "ntk", "cov1", "cov2")}
        after = {n: None if a is None else factor * a for n, a in given.items()}
        # That of normalized activations, which no factor changes.
        return self.replace(**after, distance=self.distance)

    def __add__(self, std: Any) -> "Kernel":
        """The kernel with a random number of this standard deviation, one for all, added."""
        given = {name: getattr(self, name) for name in ("nngp", "cov1", "cov2")}
        after = {n: None if a is None else std**2 + a for n, a in given.items()}
        return self.replace(**after)

    __sub__ = __add__

    def __repr__(self) -> str:
        held = ", ".join(
            f"{name}{list(array.shape)}"
            for name in ("nngp", "ntk", "cov1", "cov2")
            if (array := getattr(self, name)) is not None and hasattr(array, "shape")
        )
        return (
            f"Kernel({held}, shape1={self.shape1}, shape2={self.shape2}, "
            f"is_gaussian={self.is_gaussian}, diagonal_spatial={self.diagonal_spatial})"
        )
