"""Fixed linear maps along the spatial axes, one matrix for each: ImageResize, and parts of Index.

Along an axis, z[P] = sum_p A[P, p] x[p] with a known matrix A, so that

    K'[P, Q] = sum_pq A[P, p] A[Q, q] K[p, q].

Two positions become three by linear interpolation, A = [[1, 0], [1/2, 1/2], [0, 1]]: each output
position has at most two taps, and K'[0, 1] = (K[0, 0] + K[0, 1]) / 2 adds up entries of the input
diagonals 0 and 1. Diagonals stream, as through a pool.

The same matrices act along the batch axis (`ExampleMap`), which needs whole batches.
"""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntkjax._kernel.algebra.diagonals import Diagonals, Rows, Shift, entry
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.operation import BatchOperation, operation, static
from ntkjax._kernel.algebra.pairs import added_at
from ntkjax._kernel.algebra.signal import Shape, Signal
from ntkjax._kernel.operations.banded import BandedMap


class Choose(NamedTuple):
    """Some positions of an axis; if `drops`, one, and the axis goes away."""

    positions: tuple[int, ...]
    drops: bool = False

    def matrix(self, size: int) -> np.ndarray:
        """A, (outputs, inputs)."""
        return np.eye(size)[list(self.positions)]


class Resize(NamedTuple):
    """An axis of another size, by interpolation as `jax.image.resize` does it."""

    size: int
    method: str
    antialias: bool
    drops: bool = False

    def matrix(self, size: int) -> np.ndarray:
        """A, (outputs, inputs): the resized unit vectors."""
        return _resize_matrix(size, self.size, self.method, self.antialias)


#: What happens to an axis; None for nothing.
Rule = Choose | Resize | None


@functools.lru_cache(maxsize=1024)
def _resize_matrix(size: int, size_out: int, method: str, antialias: bool) -> np.ndarray:
    # Known also within a program of the caller's.
    with jax.ensure_compile_time_eval():
        resized = jax.image.resize(jnp.eye(size), (size_out, size), method, antialias)
        return np.asarray(resized, float)


class _Taps(NamedTuple):
    """The nonzero entries of a matrix, row by row: (tap, output)."""

    positions: np.ndarray
    weights: np.ndarray


@functools.lru_cache(maxsize=1024)
def _taps(rule: Rule, size: int, period: int) -> _Taps:
    """The taps of every output position of an axis; outputs beyond the last have none."""
    if rule is None:
        outputs = np.arange(period)[None]
        return _Taps(outputs % size, (outputs < size).astype(float))
    matrix = rule.matrix(size)
    count = max(int(np.max(np.sum(matrix != 0, 1))), 1)
    positions, weights = np.zeros((count, period), int), np.zeros((count, period))
    for output, row in enumerate(matrix):
        (held,) = np.nonzero(row)
        positions[: len(held), output] = held
        weights[: len(held), output] = row[held]
    return _Taps(positions, weights)


@operation
class AxisMap(BandedMap):
    """One linear map of positions for each spatial axis; an axis that is dropped is left out."""

    rules: tuple[Rule, ...] = static()

    unmasks = False

    def mask(self, masks: tuple[Array, ...], signal: Signal) -> Array:
        """Where all positions that an output is made of are masked."""
        held = ~masks[0]
        for axis, rule in enumerate(self.rules):
            if rule is not None:
                used = (rule.matrix(held.shape[axis]) != 0).astype(np.float32)
                counts = jnp.tensordot(used, held.astype(np.float32), (1, axis))
                held = jnp.moveaxis(counts, 0, axis) > 0
        return ~jnp.squeeze(held, self._dropped)

    @property
    def keeps_periods(self) -> bool:
        return False

    @property
    def _dropped(self) -> tuple[int, ...]:
        return tuple(k for k, rule in enumerate(self.rules) if rule is not None and rule.drops)

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals
        rules = zip(self.rules, signal.sizes, strict=True)
        sizes = tuple(n if rule is None else len(rule.matrix(n)) for rule, n in rules)
        resized = signal.with_sizes(sizes)
        gone = [signal.spatial_axes[k] for k in self._dropped]

        def kept(shape: Shape) -> Shape:
            return tuple(n for axis, n in enumerate(shape) if axis not in gone)

        def moved(axis: int) -> int:
            return axis - sum(other < axis for other in gone)

        return dataclasses.replace(
            resized,
            shape1=kept(resized.shape1),
            shape2=kept(resized.shape2),
            batch_axis=moved(signal.batch_axis),
            channel_axis=moved(signal.channel_axis),
            is_nonnegative=signal.is_nonnegative and self._is_nonnegative(signal.sizes),
        )

    def _is_nonnegative(self, sizes: Shape) -> bool:
        rules = zip(self.rules, sizes, strict=True)
        return all(rule is None or bool(np.all(rule.matrix(n) >= 0)) for rule, n in rules)

    def whole(self, here: Diagonals) -> Diagonals:
        """The geometry of the output, with an axis of one position for each that is dropped."""
        if here.ndim == len(self.rules):
            return here
        held = zip(here.sizes, here.periods, here.rows, strict=True)
        axes = [(1, 1, (0,)) if k in self._dropped else next(held) for k in range(len(self.rules))]
        sizes, periods, rows = zip(*axes, strict=True)
        return Diagonals(sizes, periods, rows)

    # Along one axis, with no axis dropped.

    def tap_weights(self, axis: int, below: Diagonals, here: Diagonals) -> np.ndarray:
        return _taps(self.rules[axis], below.sizes[axis], here.periods[axis]).weights

    def tap_positions(self, axis: int, below: Diagonals, here: Diagonals) -> np.ndarray:
        return _taps(self.rules[axis], below.sizes[axis], here.periods[axis]).positions

    def row_near(self, axis: int, row: int, below: Diagonals, here: Diagonals) -> int:
        return row * here.periods[axis] // below.periods[axis]

    # With the axes that are dropped.

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        return super().demand(self.whole(wanted), given)

    def groups(self, rows: Diagonals, here: Diagonals, images: int) -> tuple[int, ...]:
        return (1,) * rows.ndim

    def start(self, below: Diagonals, here: Diagonals, lanes: tuple[int, ...]) -> tuple[int, ...]:
        return super().start(below, self.whole(here), lanes)

    def add(
        self, total: Array, rows: Array, shift: Shift, lanes: tuple[Any, ...], below: Diagonals,
        here: Diagonals,
    ) -> Array:  # fmt: skip
        here = self.whole(here)
        bands = [self.band(axis, below, here) for axis in range(below.ndim)]
        held = [entry(band.rows, d) for band, d in zip(bands, shift, strict=True)]
        for axis, (band, d) in enumerate(zip(bands, shift, strict=True)):
            weights = jnp.asarray(band.weights[:, :, 0], rows.dtype)
            positions = self.tap_positions(axis, below, here)
            rows = _mixed_along(rows, axis, entry(weights, d), positions)
        counts = rows.shape[: below.ndim]

        def added(index: Any, total: Array) -> Array:
            part = jnp.unravel_index(index, counts) if counts else ()
            place = (*(at[k] for at, k in zip(held, part, strict=True)), *(0,) * below.ndim, *lanes)
            more = rows[part] if counts else rows
            return added_at(total, more[(None,) * below.ndim], place)

        return lax.fori_loop(0, math.prod(counts), added, total)

    def finish(self, total: Array, below: Diagonals) -> Array:
        return jnp.squeeze(super().finish(total, below), tuple(1 + k for k in self._dropped))

    def positions(self, image_map: Array, below: Diagonals, here: Diagonals) -> Array:
        here = self.whole(here)
        for axis in range(below.ndim):
            weights, positions = (
                of(axis, below, here) for of in (self.tap_weights, self.tap_positions)
            )
            weights = jnp.asarray(weights[None], image_map.dtype)
            mixed = _mixed_along(image_map, axis, weights, positions, places=0)
            image_map = jnp.squeeze(mixed, axis)
        return jnp.squeeze(image_map, self._dropped)

    def halo(self, below: Diagonals, here: Diagonals) -> Any:
        return ((0, 0),) * below.ndim

    def mass(self, below: Diagonals, here: Diagonals) -> np.ndarray:
        return np.squeeze(super().mass(below, self.whole(here)), self._dropped)


def _mixed_along(
    array: Array, axis: int, weights: Array, positions: np.ndarray, places: int | None = None
) -> Array:
    """Weighted sums over taps along a spatial axis, once for each place.

    `array` is `[place of each axis before ..., position per axis ..., *lanes]`, of no places where
    `places` says so; `weights` are (place, tap, output), and `positions` (tap, output) the inputs.
    """
    at = axis + (axis if places is None else places)
    if len(positions) == 1:
        entries = jnp.expand_dims(jnp.take(array, positions[0], at, mode="clip"), axis)
        shape = [1] * entries.ndim
        shape[axis], shape[at + 1] = len(weights), positions.shape[1]
        return entries * weights[:, 0].reshape(shape)
    inputs = jnp.asarray(np.arange(array.shape[at]) == positions[..., None], weights.dtype)
    matrix = jnp.einsum("kio,iop->kop", weights, inputs)
    mixed = jnp.tensordot(matrix, array, (2, at), precision=lax.Precision.HIGHEST)
    return jnp.moveaxis(mixed, (0, 1), (axis, at + 1))


@operation
class ExampleMap(BatchOperation):
    """One linear map along the batch axis, z[N] = sum_n A[N, n] x[n]."""

    rule: Choose | Resize | tuple[int | None, ...] = static()

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        (signal,) = signals

        def shape(given: Shape) -> Shape:
            count = len(self.matrix(given[signal.batch_axis]))
            return tuple(count if k == signal.batch_axis else n for k, n in enumerate(given))

        return dataclasses.replace(
            signal, shape1=shape(signal.shape1), shape2=shape(signal.shape2), is_nonnegative=False
        )

    def matrix(self, count: int) -> np.ndarray:
        """A of a batch of so many examples; the entries of a slice are those of Python's."""
        rule = self.rule
        if not isinstance(rule, Choose | Resize):
            rule = Choose(tuple(range(count)[slice(*rule)]))
        return rule.matrix(count)

    def of_batches(self, *kernels: Kernel) -> Kernel:
        (kernel,) = kernels
        signal = Signal(kernel.shape1, kernel.shape2, kernel.batch_axis, kernel.channel_axis)
        after = self.infer((signal,), "")
        counts = (shape[kernel.batch_axis] for shape in (kernel.shape1, kernel.shape2))
        one, two = (jnp.asarray(self.matrix(count), kernel.nngp.dtype) for count in counts)
        mapped = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)

        def pairs(array: Array | None) -> Array | None:
            return None if array is None else mapped("Mm,mn...,Nn->MN...", one, array, two)

        def own(array: Array | None, matrix: Array) -> Array | None:
            return None if array is None else mapped("Mm,mn...,Mn->M...", matrix, array, matrix)

        def hidden(mask: Array | None, matrix: Array) -> Array | None:
            """Where all examples that an output is made of are masked."""
            if mask is None:
                return None
            used, held = (matrix != 0).astype(matrix.dtype), (~mask).astype(matrix.dtype)
            seen = mapped("Mm,m...->M...", used, jnp.moveaxis(held, kernel.batch_axis, 0)) > 0
            return jnp.moveaxis(~seen, 0, kernel.batch_axis)

        # A chosen example is one of those before, and so are its distances.
        keeps = not isinstance(self.rule, Resize)
        return kernel.replace(
            nngp=pairs(kernel.nngp),
            ntk=pairs(kernel.ntk),
            cov1=own(kernel.cov1, one),
            cov2=own(kernel.cov2, two),
            distance=pairs(kernel.distance) if keeps else None,
            mask1=hidden(kernel.mask1, one),
            mask2=hidden(kernel.mask2, two),
            shape1=after.shape1,
            shape2=after.shape2,
            diagonal_batch=True,
        )
