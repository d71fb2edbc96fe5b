"""A user's own `kernel_fn(kernel) -> kernel`, which takes all pairs of positions at once."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.diagonals import Diagonals, Rows, from_matrix, shifted
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.operation import LayerError, Operation, Step, operation, static
from ntkjax._kernel.algebra.signal import Signal


@operation
class Custom(Operation):
    """Call a function of a full `Kernel`: all pairs of positions are stored for it."""

    kernel_fn: Callable[[Kernel], Kernel] = static()

    needs_self = True

    @property
    def keeps_periods(self) -> bool:
        return False

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        if len(signals) != 1:
            raise LayerError(f"a user's layer takes one input, but {len(signals)} came.")
        out = jax.eval_shape(lambda: self.apply(_example(signals[0])))
        return Signal(
            out.shape1,
            out.shape2,
            out.batch_axis,
            out.channel_axis,
            out.is_gaussian,
            frozenset({source}) if out.is_gaussian else signals[0].sources,
        )

    def has_tangent(self, given: bool, step: Step) -> bool:
        return True

    def is_excess(self, given: tuple[bool, ...], in_distances: bool) -> bool:
        return False

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        return given.all().rows

    def apply(self, kernel: Kernel) -> Kernel:
        """The user's function; refuses what is no kernel."""
        result = self.kernel_fn(kernel)
        if not isinstance(result, Kernel):
            raise LayerError(
                f"the user's kernel_fn returned {type(result).__name__}, not a Kernel; return "
                "`kernel.replace(...)` of the kernel that it was given."
            )
        return result

    def of_images(self, covariances: Array, signal: Signal) -> Array:
        """Covariances of images with themselves after the layer: a kernel for each image alone."""
        shape = list(signal.shape1)
        shape[signal.batch_axis] = 1
        single = dataclasses.replace(signal, shape1=tuple(shape), shape2=tuple(shape))

        def one(cov: Array) -> Array | None:
            kernel = Kernel.of_signal(
                single,
                nngp=cov[None, None],
                ntk=jnp.zeros_like(cov)[None, None],
                cov1=cov[None],
                cov2=None,
                x1_is_x2=jnp.asarray(True),
            )
            after = self.apply(kernel).cov1
            return None if after is None else after[0]

        return jax.vmap(one)(covariances)  # type: ignore[return-value]


def _example(signal: Signal) -> Kernel:
    """A kernel of the right shapes, to see what a user's function makes of it."""
    n1, n2 = signal.shape1[signal.batch_axis], signal.shape2[signal.batch_axis]
    positions = tuple(size for size in signal.sizes for _ in range(2))
    return Kernel.of_signal(
        signal,
        nngp=jnp.zeros((n1, n2, *positions)),
        ntk=jnp.zeros((n1, n2, *positions)),
        cov1=jnp.zeros((n1, *positions)),
        cov2=jnp.zeros((n2, *positions)),
        x1_is_x2=jnp.zeros((), bool),
    )


def rows_of_matrix(matrix: Array | None, name: str, diagonals: Diagonals) -> Array:
    """The rows of a field of a full kernel; raises where it lacks pairs of positions."""
    positions = tuple(size for size in diagonals.sizes for _ in range(2))
    shape = None if matrix is None else matrix.shape
    if matrix is None or matrix.shape[matrix.ndim - len(positions) :] != positions:
        raise LayerError(
            f"its kernel.{name} must hold all pairs of positions, interleaved as (n1, n2, "
            f"{', '.join(map(str, positions))}), but {'None' if shape is None else shape} came; "
            "compute it with get=None and without diagonal_spatial=True."
        )
    return from_matrix(matrix, diagonals)


def distances(covariances: Array, diagonals: Diagonals, first: Array, second: Array) -> Array:
    """v1 + v2 - 2 K on several rows, where nothing better is known."""

    def one(row: Array, shift: Array) -> Array:
        return jnp.maximum(first + shifted(second, tuple(shift)) - 2 * row, 0.0)

    return jax.vmap(one)(covariances, jnp.asarray(diagonals.displacements()))
