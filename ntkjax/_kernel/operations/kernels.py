"""Kernels as users hold them: those of another network, as inputs, and users' own layers.

A user's layer is a function of a `Kernel` with all pairs of positions. Outside of it, images keep
their scales, and distances where they are known.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.diagonals import Diagonals, from_matrix, shifted, to_matrix
from ntkjax._kernel.algebra.form import Form
from ntkjax._kernel.algebra.image import Image, new_scale, on_positions
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.operation import (
    Context,
    LayerError,
    Operation,
    Seen,
    Step,
    operation,
    static,
    taken,
)
from ntkjax._kernel.algebra.pairs import Pairs, from_normalized
from ntkjax._kernel.algebra.roots import positive_part, safe_sqrt
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.operations.fixed_value import FixedValue
from ntkjax._kernel.operations.whole import WholeOperation


class _Side(NamedTuple):
    """What pairs need of the images of one side."""

    scale: Array  # [image]
    variance: Array | None  # [position per axis ..., image]; in distance form


@operation
class KernelInput(Operation):
    """The kernel that another network returned, in place of two batches."""

    is_stored = True
    is_seen_whole = True

    def form(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> Form:
        return Form(is_distance, ntk)

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, _Side]:
        """Of the covariances of images with themselves, `[image, p1, q1, ...]`."""
        here = context.step.here
        image = image_of(context, context.array, here.cross, here.form.is_distance)
        return image, _Side(image.scale, image.variance)

    def read(self, kernel: Kernel, seen: Seen, step: Step) -> Pairs:
        """The diagonals held of a kernel."""
        return rows_of_kernel(kernel, seen, step)

    def read_own(self, covariances: Array | None, side: _Side, step: Step) -> Pairs:
        """The diagonals held of the images with themselves."""
        return rows_of_images(covariances, side, step)

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        return pairs[0]


def image_of(
    context: Context, covariances: Array | None, grid: Diagonals, is_distance: bool
) -> Image:
    """Images of given covariances with themselves, in scales of their own."""
    if covariances is None:
        if is_distance:
            rows_of_matrix(None, "cov1", grid)
        return Image(jnp.ones(context.count))
    var = rows_of_matrix(covariances, "cov1", grid.zero())[0]
    std = safe_sqrt(jnp.maximum(var, 0.0))
    scale = new_scale(std[grid.crop], context.ahead, tuple(range(grid.ndim)))
    return Image(scale, jnp.square(std / on_positions(scale, std.ndim)) if is_distance else None)


def rows_of_images(covariances: Array | None, side: _Side, step: Step) -> Pairs:
    """The diagonals held at a place, of covariances of images with themselves, `[image, ...]`."""
    rows = rows_of_matrix(covariances, "cov1", step.here.cross)
    scale = on_positions(side.scale, rows.ndim)
    rows = rows / scale / scale
    if side.variance is not None:
        grid = step.here.cross
        rows = distances(rows, grid, side.variance, side.variance)
        if grid.holds_zero:
            # Of a position with itself: exactly, whatever the rounding of its covariance.
            rows = rows.at[grid.row_index((0,) * grid.ndim)].set(0.0)
    return Pairs(rows)


def rows_of_kernel(kernel: Kernel, seen: Seen, step: Step) -> Pairs:
    """The diagonals held at a place, of a full kernel in the units of f."""
    grid, form = step.here.cross, step.here.form
    s1, s2 = _scales(seen.first.scale, seen.second.scale, grid.ndim + 3)
    moment = rows_of_matrix(kernel.nngp, "nngp", grid) / s1 / s2
    if form.is_distance:
        v1, v2 = seen.first.variance[..., :, None], seen.second.variance[..., None, :]
        moment = distances(moment, grid, v1, v2)
        if kernel.distance is not None:
            normalized = rows_of_matrix(kernel.distance, "distance", grid)
            moment = _from_normalized(normalized, grid, v1, v2)
        if seen.same is not None and grid.holds_zero:
            zero = grid.row_index((0,) * grid.ndim)
            same = on_positions(seen.same, grid.ndim + 2)
            moment = moment.at[zero].set(jnp.where(same, 0.0, moment[zero]))
    if not form.has_tangent:
        return Pairs(moment)
    return Pairs(moment, rows_of_matrix(kernel.ntk, "ntk", grid) / s1 / s2)


def _scales(first: Array, second: Array, ndim: int) -> tuple[Array, Array]:
    """Scales of either side as rows of pairs see them."""
    return on_positions(first[:, None], ndim), on_positions(second[None, :], ndim)


def _from_normalized(rows: Array, grid: Diagonals, first: Array, second: Array) -> Array:
    """Distances of g, of those of normalised images and of variances."""
    std1, std2 = safe_sqrt(first), safe_sqrt(second)

    def one(row: Array, shift: Array) -> Array:
        return from_normalized(row, std1, shifted(std2, tuple(shift)))

    return jax.vmap(one)(rows, jnp.asarray(grid.displacements()))


def rows_of_matrix(matrix: Array | None, name: str, diagonals: Diagonals) -> Array:
    """The rows of a field of a kernel; raises where it lacks pairs of positions.

    A field of equal positions alone has the diagonal of these, and no other.
    """
    positions = tuple(size for size in diagonals.sizes for _ in range(2))
    shape = None if matrix is None else matrix.shape
    lanes = 1 if name == "cov1" else 2
    if matrix is not None and diagonals.ndim and matrix.shape[lanes:] == diagonals.sizes:
        if diagonals.rows == diagonals.zero().rows:
            return _zero_row(matrix, lanes, diagonals)
        raise LayerError(
            f"kernel_fn: kernel.{name}, of shape {shape}, holds equal positions alone, but the "
            "layers after it need pairs of different positions, or the result is to hold them; "
            "compute the kernel without diagonal_spatial=True."
        )
    if matrix is None or matrix.shape[matrix.ndim - len(positions) :] != positions:
        raise LayerError(
            f"its kernel.{name} must hold all pairs of positions, interleaved as (n1, n2, "
            f"{', '.join(map(str, positions))}), but {'None' if shape is None else shape} came; "
            "compute it with get=None and without diagonal_spatial=True."
        )
    return from_matrix(matrix, diagonals)


def _zero_row(held: Array, lanes: int, diagonals: Diagonals) -> Array:
    """The diagonal of equal positions, of [*lanes, position per axis ...]."""
    row = jnp.moveaxis(held, range(lanes), range(-lanes, 0))
    sizes = zip(diagonals.sizes, diagonals.periods, strict=True)
    dead = [(0, period - size) for size, period in sizes]
    return jnp.pad(row, (*dead, *((0, 0),) * lanes))[None]


def distances(covariances: Array, diagonals: Diagonals, first: Array, second: Array) -> Array:
    """v1 + v2 - 2 K on several rows, where nothing better is known."""

    def one(row: Array, shift: Array) -> Array:
        return positive_part(first + shifted(second, tuple(shift)) - 2 * row)

    return jax.vmap(one)(covariances, jnp.asarray(diagonals.displacements()))


class _Custom(NamedTuple):
    """What a user's layer needs of the images of one side."""

    scale: Array  # before, [image]
    own: Array  # covariances before, [p1, q1, ..., image]
    after: _Side
    own_after: Array | None  # covariances after
    data: dict[str, Array]  # what a call brings for each image, [..., image]


@operation
class Custom(WholeOperation):
    """Call a user's function of a full `Kernel`.

    Attributes:
      kernel_fn: the function.
      arrays: keywords of a call for it, of arrays; the same for all examples.
      fixed: further ones, with values that are part of the program.
      of_each: further ones that bring an array for each example: its shape and its dtype.
    """

    kernel_fn: Callable[..., Kernel] = static()
    arrays: dict[str, Any] = dataclasses.field(default_factory=dict)
    fixed: tuple[tuple[str, FixedValue], ...] = static(default=())
    of_each: tuple[tuple[str, tuple[tuple[int, ...], str]], ...] = static(default=())

    def with_options(self, arrays: dict[str, Any], fixed: Any, of_each: Any) -> "Custom":
        """The same with the keywords of a call."""
        return dataclasses.replace(self, arrays=arrays, fixed=fixed, of_each=of_each)

    @property
    def keywords(self) -> tuple[str, ...]:  # type: ignore[override]
        """Keywords that bring arrays of images."""
        return tuple(name for name, _ in self.of_each)

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        if len(signals) != 1:
            raise LayerError(f"a user's layer takes one input, but {len(signals)} came.")
        n1, n2 = (shape[signals[0].batch_axis] for shape in (signals[0].shape1, signals[0].shape2))

        def data(count: int) -> dict[str, Array]:
            return {name: jnp.zeros((count, *tail), of) for name, (tail, of) in self.of_each}

        out = jax.eval_shape(
            lambda: self.apply_either(example_kernel(signals[0]), data(n1), data(n2))
        )
        return Signal(
            out.shape1,
            out.shape2,
            out.batch_axis,
            out.channel_axis,
            out.is_gaussian,
            frozenset({source}) if out.is_gaussian else signals[0].sources,
            is_alike=out.is_gaussian or signals[0].is_alike,
        )

    def takes_distance(self, is_distance: bool) -> bool:
        return False

    def accepts(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> tuple[Form, ...]:
        return (taken(given[0], False, False, ntk),)

    def form(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> Form:
        return Form(is_distance, ntk)

    def renews_scale(self, scales: tuple[int, ...]) -> bool:
        return True

    def apply(self, kernel: Kernel, data1: dict[str, Array], data2: dict[str, Array]) -> Kernel:
        """The user's function, with what either side's images bring; refuses what is no kernel."""
        pairs = {name: (data1[name], data2[name]) for name in self.keywords}
        result = self.returned(kernel, **pairs)
        if not isinstance(result, Kernel):
            raise LayerError(
                f"the user's kernel_fn returned {type(result).__name__}, not a Kernel; return "
                "`kernel.replace(...)` of the kernel that it was given."
            )
        return result

    def returned(self, kernels: Any, **pairs: Any) -> Any:
        """What the user's function returns of a kernel, or of lists of them."""
        fixed = {name: value.given() for name, value in self.fixed}
        return self.kernel_fn(kernels, **self.arrays, **fixed, **pairs)

    def apply_either(self, kernel: Kernel, *data: dict[str, Array]) -> Kernel:
        """The same of a kernel whose tangents do not matter, with them or, failing that, without.

        A user's function may be one of covariances alone, or may not expect that there are none.
        """
        try:
            return self.apply(kernel, *data)
        except Exception as error:
            try:
                return self.apply(kernel.replace(ntk=None), *data)
            except Exception:
                raise error from None

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, _Custom]:
        (image,), step = images, context.step
        own = to_matrix(context.own.moment, step.below.all())
        scale = image.scale.reshape(-1, *(1,) * (own.ndim - 1))
        own = scale * (scale * own)
        data = {name: image.data[name] for name in self.keywords}
        after = self._of_images(own, step.signal, data)
        grid = step.here.cross
        made = image_of(context, after, grid, step.here.form.is_distance)
        last = lambda a: None if a is None else jnp.moveaxis(a, 0, -1)  # noqa: E731
        made = dataclasses.replace(made, data=image.data)
        side = _Side(made.scale, made.variance)
        return made, _Custom(image.scale, jnp.moveaxis(own, 0, -1), side, last(after), data)

    def _of_images(
        self, covariances: Array, signal: Signal, data: dict[str, Array]
    ) -> Array | None:
        """Covariances of images with themselves after the layer: a kernel for each image alone."""
        single = _with_batches(signal, 1, 1)

        def one(cov: Array, data: dict[str, Array]) -> Array | None:
            kernel = Kernel.of_signal(
                single,
                nngp=cov[None, None],
                ntk=jnp.zeros_like(cov)[None, None],
                cov1=cov[None],
                cov2=None,
                x1_is_x2=jnp.asarray(True),
            )
            alone = {name: array[None] for name, array in data.items()}
            after = self.apply_either(kernel, alone, alone).cov1
            return None if after is None else after[0]

        return jax.vmap(one)(covariances, _in_front(data))

    def stored(self, rows: Pairs, seen: Seen, step: Step) -> Pairs:
        first, second = seen.first, seen.second
        s1, s2 = _scales(first.scale, second.scale, rows.moment.ndim)
        matrices = rows.map(lambda a: to_matrix(s2 * (s1 * a), step.below.all()))
        cov1, cov2 = (jnp.moveaxis(side.own, -1, 0) for side in (first, second))
        ntk = matrices.ntk
        if ntk is None and step.here.form.has_tangent:
            ntk = jnp.zeros_like(matrices.moment)  # as below the first weights
        kernel = Kernel.of_signal(
            _with_batches(step.signal, *matrices.moment.shape[:2]),
            nngp=matrices.moment,
            ntk=ntk,
            cov1=cov1,
            cov2=None if seen.is_symmetric else cov2,
            x1_is_x2=jnp.asarray(seen.is_symmetric),
        )
        after = self.apply(kernel, _in_front(first.data), _in_front(second.data))
        return rows_of_kernel(after, seen._replace(first=first.after, second=second.after), step)

    def stored_own(self, rows: Pairs, maps: _Custom, step: Step) -> Pairs:
        own = None if maps.own_after is None else jnp.moveaxis(maps.own_after, -1, 0)
        return rows_of_images(own, maps.after, step)


def _in_front(data: dict[str, Array]) -> dict[str, Array]:
    """Arrays of images with these along the first axis."""
    return {name: jnp.moveaxis(array, -1, 0) for name, array in data.items()}


def _with_batches(signal: Signal, count1: int, count2: int) -> Signal:
    """The same signal for so many first and second images."""
    shapes = [list(signal.shape1), list(signal.shape2)]
    for shape, count in zip(shapes, (count1, count2), strict=True):
        shape[signal.batch_axis] = count
    return dataclasses.replace(signal, shape1=tuple(shapes[0]), shape2=tuple(shapes[1]))


def example_kernel(signal: Signal) -> Kernel:
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
