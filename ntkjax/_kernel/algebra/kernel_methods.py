"""What users do with a `Kernel`: cut it, mask it, index and permute its positions, contract them.

Each acts on the activations z as the function of its name does on an array: `kernel[:, 1:]` is the
kernel of z[:, 1:]. An array of two batches and h times w positions is (n1, n2, h, h, w, w), a
covariance of one batch with itself (n1, h, h, w, w) or, without `diagonal_batch`,
(n1, n1, h, h, w, w); of equal positions alone, each axis of positions is there once.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp

from ntkjax._kernel.algebra.errors import UnsupportedError

PAIRS = ("nngp", "ntk", "distance")
#: The covariances of one batch with itself, and the mask and shape of that batch.
SIDES = (("cov1", "mask1", "shape1"), ("cov2", "mask2", "shape2"))


class KernelMethods:
    """Methods of `Kernel`, which holds the fields."""

    def asdict(self: Any) -> dict[str, Any]:
        """The fields by name; arrays are not copied."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def astuple(self: Any) -> tuple[Any, ...]:
        """The fields in their order; arrays are not copied."""
        return tuple(self.asdict().values())

    def slice(self: Any, n1_slice: slice, n2_slice: slice) -> Any:
        """The kernel of some examples of the first batch and some of the second."""
        cuts, shapes = (n1_slice, n2_slice), (self.shape1, self.shape2)
        changes: dict[str, Any] = {
            name: _cut(array, cuts) for name, array in _given(self, PAIRS) if array.ndim
        }
        lead = 1 if self.diagonal_batch else 2
        for (cov, mask, shape), cut in zip(SIDES, cuts, strict=True):
            given, hidden = self.side(cov), self.side(mask)
            changes[cov] = None if given is None else _cut(given, (cut,) * lead)
            before = getattr(self, shape)
            changes[shape] = tuple(
                len(range(n)[cut]) if k == self.batch_axis else n for k, n in enumerate(before)
            )
            if hidden is not None and hidden.shape[self.batch_axis] > 1:
                changes[mask] = hidden[(slice(None),) * self.batch_axis + (cut,)]
        first, second = (range(s[self.batch_axis])[c] for s, c in zip(shapes, cuts, strict=True))
        if first != second:
            changes["x1_is_x2"] = jnp.asarray(False)
        return self.replace(**{"distance": self.distance, **changes})

    def side(self: Any, name: str) -> Any:
        """A field of one batch; of a second batch that is the first one, that of the first."""
        value = getattr(self, name)
        if value is None and self.cov2 is None and name in ("cov2", "mask2"):
            return getattr(self, name[:-1] + "1")
        return value

    def reverse(self: Any) -> Any:
        """The same kernel with the axes of positions in the reverse order, (n1, n2, w, w, h, h).

        `is_reversed` says which order they have.
        """

        def turned(array: Any, lead: int) -> Any:
            order = [a for k in range(array.ndim - 2, lead - 1, -2) for a in (k, k + 1)]
            return jnp.transpose(array, (*range(lead), *order))

        after = {} if self.diagonal_spatial else self.mapped(turned)
        return self.replace(**after, is_reversed=not self.is_reversed)

    def transpose(self: Any, axes: Sequence[int] | None = None) -> Any:
        """Permute the axes of positions, as `numpy.transpose` does; None for no change."""
        count = len(self.shape1) - 2
        order = range(count) if axes is None else axes
        if sorted(a % count if count else a for a in order) != list(range(count)):
            raise ValueError(
                f"Kernel.transpose: axes={axes}, expected each of the {count} axes of positions "
                "once, from 0."
            )
        width = 1 if self.diagonal_spatial else 2
        of_arrays = [a % count for a in order]
        if self.is_reversed and not self.diagonal_spatial:
            # Axis a of positions is the pair of axes count - 1 - a, and so are those to come.
            of_arrays = [count - 1 - a for a in reversed(of_arrays)]

        def permuted(array: Any, lead: int) -> Any:
            spatial = [lead + width * a + k for a in of_arrays for k in range(width)]
            return jnp.transpose(array, (*range(lead), *spatial))

        others = self.batch_axis, self.channel_axis
        spatial = [a for a in range(len(self.shape1)) if a not in others]
        moved = {old: spatial[a % count] for old, a in zip(spatial, order, strict=True)}
        full = [moved.get(a, a) for a in range(len(self.shape1))]
        masks = [None if m is None else jnp.transpose(m, full) for m in (self.mask1, self.mask2)]
        shapes = [tuple(shape[a] for a in full) for shape in (self.shape1, self.shape2)]
        return self.replace(
            **self.mapped(permuted), mask1=masks[0], mask2=masks[1], shape1=shapes[0],
            shape2=shapes[1],
        )  # fmt: skip

    def mapped(self: Any, fn: Callable[[Any, int], Any]) -> dict[str, Any]:
        """`fn` of all arrays of covariances, and of their number of axes before positions."""
        pairs = {name: fn(array, 2) for name, array in _given(self, PAIRS) if array.ndim}
        lead = 1 if self.diagonal_batch else 2
        own = {name: fn(array, lead) for name, array in _given(self, ("cov1", "cov2"))}
        # What has no positions cannot be reordered: a tangent kernel of inputs may be one zero.
        return {"distance": None, **pairs, **own}

    def mask(self: Any, mask1: Any, mask2: Any) -> Any:
        """The kernel of activations that are zero where they are masked.

        Args:
          mask1: booleans of a shape that broadcasts to `shape1`, with one channel; None for none.
          mask2: the same for the second batch; None for none or, of a batch with itself, `mask1`.
        """
        second = mask1 if mask2 is None and self.cov2 is None else mask2
        one, two = (_hidden(self, m) for m in (mask1, second))

        def without(array: Any, hidden: tuple[Any, Any], lead: int) -> Any:
            for mask, place in zip(hidden, (0, 1), strict=True):
                if mask is not None:
                    seen = _outer(mask, place, lead, self.diagonal_spatial)
                    array = jnp.where(seen, jnp.zeros((), array.dtype), array)
            return array

        changes = {n: without(a, (one, two), 2) for n, a in _given(self, PAIRS) if a.ndim}
        lead = 1 if self.diagonal_batch else 2
        is_one = self.cov2 is None and (mask2 is None or mask2 is mask1)
        for name, hidden in (("cov1", one), *([] if is_one else [("cov2", two)])):
            if (own := self.side(name)) is not None:
                changes[name] = without(own, (hidden, hidden), lead)
        if not is_one:
            changes["x1_is_x2"] = self.x1_is_x2 if mask2 is mask1 else jnp.asarray(False)
        return self.replace(**{"distance": None, **changes}, mask1=mask1, mask2=mask2)

    def dot_general(
        self: Any, other1: Any, other2: Any, is_lhs: bool, dimension_numbers: Any
    ) -> Any:
        """The kernel of `jax.lax.dot_general` of the activations with constant factors.

        Args:
          other1: factor of the first batch; None for that of the second, or for none of either.
          other2: factor of the second batch; None for that of the first.
          is_lhs: whether the factors are the first operands of `jax.lax.dot_general`.
          dimension_numbers: as there.
        """
        if other1 is None and other2 is None:
            return self
        other1 = other2 if other1 is None else other1
        other2 = other1 if other2 is None else other2
        if other1.ndim != other2.ndim:
            raise UnsupportedError(
                f"Kernel.dot_general: the factors have {other1.ndim} and {other2.ndim} axes; give "
                "factors with the same axes for both batches."
            )
        kernel = self.reverse() if self.is_reversed and not self.diagonal_spatial else self
        return _Contraction(kernel, other1, is_lhs, dimension_numbers).of(other1, other2)

    def __getitem__(self: Any, idx: Any) -> Any:
        """The kernel of indexed activations: all channels, and some examples and positions."""
        kernel = self.reverse() if self.is_reversed and not self.diagonal_spatial else self
        return _indexed(kernel, index_of_axes(idx, len(self.shape1)))

    def __pos__(self: Any) -> Any:
        """The same kernel."""
        return self


def _given(kernel: Any, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    return ((name, a) for name in names if (a := getattr(kernel, name)) is not None)


def _cut(array: Any, cuts: tuple[Any, ...]) -> Any:
    """Some entries along the first axes, each by an index of its own."""
    for axis, cut in enumerate(cuts):
        array = _at(array, axis, cut)
    return array


def _at(array: Any, axis: int, entry: Any) -> Any:
    entry = jnp.asarray(entry) if isinstance(entry, (tuple, list)) else entry
    return array[(slice(None),) * axis + (entry,)]


def _hidden(kernel: Any, mask: Any) -> Any:
    """A mask as (batch, positions ...)."""
    if mask is None:
        return None
    if mask.shape[kernel.channel_axis] != 1:
        raise UnsupportedError(
            f"Kernel.mask: a mask has shape {mask.shape}, with one for each channel; the kernel is "
            "of infinitely many, so give masks with a single channel."
        )
    axes = (kernel.batch_axis, kernel.channel_axis)
    mask = jnp.squeeze(jnp.moveaxis(mask, axes, (0, -1)), -1)
    if kernel.is_reversed and not kernel.diagonal_spatial:
        mask = jnp.transpose(mask, (0, *reversed(range(1, mask.ndim))))
    return mask


def _outer(mask: Any, place: int, lead: int, diagonal_spatial: bool) -> Any:
    """A mask as the first (0) or second (1) of pairs of examples and positions."""
    width = 1 if diagonal_spatial else 2
    shape = [1] * (lead + width * (mask.ndim - 1))
    shape[min(place, lead - 1)] = mask.shape[0]
    for k, n in enumerate(mask.shape[1:]):
        shape[lead + width * k + (0 if diagonal_spatial else place)] = n
    return mask.reshape(shape)


def index_of_axes(idx: Any, ndim: int) -> tuple[Any, ...]:
    """An index with an entry for each axis."""
    entries = idx if isinstance(idx, tuple) else (idx,)
    missing = (slice(None),) * (ndim - sum(entry is not Ellipsis for entry in entries))
    for place, entry in enumerate(entries):
        if entry is Ellipsis:
            return (*entries[:place], *missing, *entries[place + 1 :])
    return (*entries, *missing)


def _indexed(kernel: Any, entries: tuple[Any, ...]) -> Any:
    batch, channel = kernel.batch_axis, kernel.channel_axis
    if entries[channel] != slice(None):
        raise UnsupportedError(
            f"Kernel: the index takes {entries[channel]} of the channels (axis {channel}), of "
            "which there are infinitely many; take all of them, by `:`."
        )
    if isinstance(entries[batch], int):
        raise UnsupportedError(
            f"Kernel: the integer {entries[batch]} as an index of the examples (axis {batch}) "
            "leaves no batch axis; use a slice, as in [0:1]."
        )
    spatial = [e for axis, e in enumerate(entries) if axis not in (batch, channel)]
    width = 1 if kernel.diagonal_spatial else 2

    def taken(array: Any, lead: int) -> Any:
        for k in reversed(range(len(spatial))):  # from the last, as integers remove axes
            for side in reversed(range(width)):
                array = _at(array, lead + width * k + side, spatial[k])
        return _cut(array, (entries[batch],) * lead)

    kept = [axis for axis, entry in enumerate(entries) if not isinstance(entry, int)]

    def mask_taken(mask: Any, shape: tuple[int, ...]) -> Any:
        if mask is None:
            return None
        sizes = [1 if axis == channel else n for axis, n in enumerate(shape)]
        mask = jnp.broadcast_to(mask, sizes)
        for axis in reversed(range(len(entries))):
            mask = _at(mask, axis, entries[axis])
        return mask

    def shape_taken(shape: tuple[int, ...]) -> tuple[int, ...]:
        sizes = [
            len(range(n)[e]) if isinstance(e, slice) else len(e)
            for n, e in zip(shape, entries, strict=True)
            if not isinstance(e, int)
        ]
        return tuple(sizes)

    return kernel.replace(
        **kernel.mapped(taken),
        mask1=mask_taken(kernel.mask1, kernel.shape1),
        mask2=mask_taken(kernel.mask2, kernel.shape2),
        shape1=shape_taken(kernel.shape1),
        shape2=shape_taken(kernel.shape2),
        batch_axis=kept.index(batch),
        channel_axis=kept.index(channel),
    )


class _Contraction:
    """The sums of a `dot_general` over the positions (or examples) of a kernel.

    Axes of activations and of factors have names, as in `numpy.einsum`: an axis of the activations
    of first images is (axis, 0), of second ones (axis, 1); where only equal positions are held, or
    a batch is paired with itself alone, both are (axis, 0).
    """

    def __init__(self, kernel: Any, other: Any, is_lhs: bool, dimension_numbers: Any) -> None:
        self.kernel, self.is_lhs = kernel, is_lhs
        contracted, batched = dimension_numbers
        mine, its = (1, 0) if is_lhs else (0, 1)
        ndim = len(kernel.shape1)
        self.contracted = [a % ndim for a in contracted[mine]]
        self.batched = [a % ndim for a in batched[mine]]
        others = [*batched[its], *contracted[its]]
        pairs = zip(others, [*self.batched, *self.contracted], strict=True)
        #: Of the factor's axes, the axis of the activations that each meets.
        self.meets = {a % other.ndim: b for a, b in pairs}
        self.free = [a for a in range(other.ndim) if a not in self.meets]
        if kernel.channel_axis in (*self.contracted, *self.batched):
            raise ValueError(
                f"Kernel.dot_general: axis {kernel.channel_axis} is that of the channels, of which "
                "there are infinitely many; contract other axes."
            )
        stay = [a for a in range(ndim) if a not in (*self.contracted, *self.batched)]
        free = [("free", a) for a in self.free]
        #: The axes of the result, those of activations as numbers.
        self.axes: list[Any] = [*self.batched, *((*free, *stay) if is_lhs else (*stay, *free))]

    def of(self, other1: Any, other2: Any) -> Any:
        """The kernel after it."""
        kernel = self.kernel
        lead = 1 if kernel.diagonal_batch else 2
        changes = {
            name: self.summed(array, 2, other1, other2)
            for name, array in _given(kernel, ("nngp", "ntk"))
            if array.ndim
        }
        is_one = kernel.cov2 is None and other2 is other1
        for name, other in (("cov1", other1), *([] if is_one else [("cov2", other2)])):
            if (own := kernel.side(name)) is not None:
                changes[name] = self.summed(own, lead, other, other)
        if other2 is not other1:
            changes["x1_is_x2"] = jnp.asarray(False)
        if kernel.batch_axis in self.contracted:
            raise UnsupportedError(
                f"Kernel.dot_general: contracts the examples (axis {kernel.batch_axis}), so that "
                "no batch is left; contract positions, or give the factor a free axis for examples."
            )
        factors = zip((kernel.shape1, kernel.shape2), (other1.shape, other2.shape), strict=True)
        shape1, shape2 = (
            tuple(its[a[1]] if isinstance(a, tuple) else mine[a] for a in self.axes)
            for mine, its in factors
        )
        return kernel.replace(
            **changes,
            shape1=shape1,
            shape2=shape2,
            batch_axis=self.axes.index(kernel.batch_axis),
            channel_axis=self.axes.index(kernel.channel_axis),
        )

    def summed(self, array: Any, lead: int, first: Any, second: Any) -> Any:
        """One array of covariances after it."""
        kernel, names = self.kernel, {}
        single = kernel.diagonal_spatial

        def name(axis: Any, side: int) -> int:
            """The number that stands for an axis in the sum."""
            is_batch = axis == kernel.batch_axis
            one = (is_batch and lead == 1) or (not is_batch and single)
            return names.setdefault((axis, 0 if one else side), len(names))

        others = kernel.batch_axis, kernel.channel_axis
        spatial = [a for a in range(len(kernel.shape1)) if a not in others]

        def doubled(axes: Sequence[Any]) -> list[int]:
            return list(dict.fromkeys(name(a, side) for a in axes for side in (0, 1)))

        batch = [name(kernel.batch_axis, side) for side in range(lead)]
        held = [*batch, *(n for a in spatial for n in doubled([a]))]
        after = [a for a in self.axes if a not in others]
        out = [*batch, *(n for a in after for n in doubled([a]))]
        factors = [
            [name(self.meets.get(a, ("free", a)), side) for a in range(first.ndim)]
            for side in (0, 1)
        ]
        dtype = array.dtype
        operands = jnp.asarray(first, dtype), factors[0], jnp.asarray(second, dtype), factors[1]
        return jnp.einsum(array, held, *operands, out)
