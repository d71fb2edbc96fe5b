"""Index: some positions or examples, chosen as NumPy's indexing does."""

import dataclasses
import operator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._kernel.algebra.errors import UnsupportedLayerError
from ntkjax._kernel.algebra.graph import Graph, Structure, Value, single
from ntkjax._kernel.algebra.operation import LayerError, operation, static
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.algebra.window import Window
from ntkjax._kernel.arrays import describe
from ntkjax._kernel.operations.axis_map import AxisMap, Choose, ExampleMap
from ntkjax._kernel.operations.crop import Crop, Reverse
from ntkjax._layers.checks import Shape, check_axis
from ntkjax._layers.finite import one_array, one_shape
from ntkjax._layers.layer import Layer, make_layer

#: An index that can be part of a program: `...`, an integer, integers, or the entries of a slice.
Entry = Any


class _Slice:
    """Write an index for `Index` as one writes it in brackets: `Slice[:, 1:4, ::2]`.

    Returns:
      What is between the brackets.

    Example:
      >>> from ntkjax import stax
      >>> stax.Slice[:, 1:4]
      (slice(None, None, None), slice(1, 4, None))
    """

    def __getitem__(self, idx: Any) -> Any:
        return idx


#: An object to write an index with, `Slice[:, 1:4, ::2]`: what is between the brackets.
Slice = _Slice()


@dataclasses.dataclass(frozen=True)
class _Range:
    """A slice, which itself cannot be hashed."""

    start: int | None = None
    stop: int | None = None
    step: int | None = None

    @property
    def slice(self) -> slice:
        return slice(self.start, self.stop, self.step)

    def positions(self, size: int) -> range:
        return range(size)[self.slice]

    @property
    def is_all(self) -> bool:
        return self.start in (None, 0) and self.stop is None and self.step in (None, 1)


@operation
class _IndexAxes(Structure):
    """The operations of an index, once the axes of the input are known."""

    entries: tuple[Entry, ...] = static()

    def build(self, graph: Graph, value: Value, place: str) -> Value:
        index = single(value, place)
        signal = graph.nodes[index].signal
        entries = _on_axes(self.entries, signal.shape1, place)
        for axis, entry in enumerate(entries):
            is_positions = axis not in (signal.batch_axis, signal.channel_axis)
            if is_positions or axis == signal.batch_axis:
                for shape in (signal.shape1, signal.shape2):
                    _check_entry(entry, shape, axis, place)
        batch = entries[signal.batch_axis]
        if isinstance(batch, int):
            raise UnsupportedLayerError(
                f"{place}: idx takes example {batch} alone, and so the batch axis "
                f"{signal.batch_axis} would go away; use a slice, such as {batch}:{batch + 1}."
            )
        channels = entries[signal.channel_axis]
        if not (isinstance(channels, _Range) and channels.is_all):
            raise UnsupportedLayerError(
                f"{place}: idx cuts the channel axis {signal.channel_axis}, but the kernel is that "
                "of infinitely many channels; leave this axis whole (:), or cut the inputs."
            )
        spatial = tuple(entries[axis] for axis in signal.spatial_axes)
        for part in _of_positions(spatial, signal):
            index = graph.add(part, (index,), place)
        if isinstance(batch, _Range):
            part = None if batch.is_all else ExampleMap((batch.start, batch.stop, batch.step))
        else:
            part = ExampleMap(Choose(batch))
        return index if part is None else graph.add(part, (index,), place)


def _of_positions(entries: tuple[Entry, ...], signal: Signal) -> list[Any]:
    """Windows for what slices choose; then all else at once."""
    windows, backwards, rules = [], [], []
    for axis, (entry, size) in enumerate(zip(entries, signal.sizes, strict=True)):
        if not isinstance(entry, _Range):
            windows.append(Window(1))
            is_one = isinstance(entry, int)
            rules.append(Choose((entry % size,), True) if is_one else Choose(entry))
            continue
        chosen = entry.positions(size)
        if chosen.step < 0:
            chosen = chosen[::-1]
            backwards.append(axis)
        stride = chosen.step if len(chosen) > 1 else 1
        windows.append(Window(1, stride, 1, (-chosen[0], chosen[-1] + 1 - size)))
        rules.append(None)
    parts: list[Any] = []
    if any(w.stride > 1 or w.padding not in ("VALID", (0, 0)) for w in windows):
        parts.append(Crop(tuple(windows)))
    if backwards:
        parts.append(Reverse(tuple(backwards)))
    if any(rule is not None for rule in rules):
        parts.append(AxisMap(tuple(rules)))
    return parts


def Index(idx: Any, batch_axis: int = 0, channel_axis: int = -1) -> Layer:
    r"""Choose positions or examples, as NumPy's `x[idx]` does.

    .. math::
        z[P] = x[p_P], \qquad K'[P, Q] = K[p_P, p_Q], \qquad \Theta'[P, Q] = \Theta[p_P, p_Q].

    Slices of positions keep what is made above and below them small: of a diagonal of the output,
    one of the input is needed.

    Args:
      idx: an index, such as `Slice[:, 1:4, ::2]`: a slice, an integer (whose axis goes away), a
        tuple of integers, or `...`, for each axis of the input; axes left over are kept whole. The
        batch axis takes no integer, and the channel axis `:` alone. There may be one tuple of
        integers, and then no integer beside it.
      batch_axis: which axis of the input runs over examples.
      channel_axis: which axis of the input runs over channels.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: when called, `idx` does not fit the input, takes nothing of it, or removes the
        batch or a channel.
      TypeError: `idx` holds something else.

    Source: Novak et al. 2020, arXiv 1912.02803, section 2; the arguments are those of
    neural-tangents 0.6.5.

    Example:
      >>> import jax.numpy as jnp
      >>> from ntkjax import stax
      >>> network = stax.serial(stax.Conv(8, (3, 3), padding="SAME"), stax.Index(stax.Slice[:, 0]))
      >>> network.kernel_fn(jnp.ones((2, 5, 4, 3)), get="nngp").shape
      (2, 2, 4, 4)
    """
    axes = (
        check_axis("Index", "batch_axis", batch_axis),
        check_axis("Index", "channel_axis", channel_axis),
    )
    entries = tuple(map(_entry, idx if isinstance(idx, tuple) else (idx,)))
    lists = [e for e in entries if isinstance(e, tuple)]
    if len(lists) > 1 or (lists and any(isinstance(e, int) for e in entries)):
        raise ValueError(
            f"Index: idx={describe(idx)} holds a tuple of integers beside others, which NumPy "
            "would take together; use an Index for each, one after the other."
        )
    array_index = tuple(e.slice if isinstance(e, _Range) else e for e in entries)
    label = f"Slice[{', '.join(map(_shown, entries))}]"

    def init_fn(rng: Array, input_shape: Shape) -> tuple[Shape, tuple[()]]:
        input_shape = one_shape("Index", input_shape)
        shape = []
        for axis, entry in enumerate(_on_axes(entries, input_shape, "Index")):
            size = input_shape[axis]
            is_all = isinstance(entry, _Range) and entry.is_all
            if size < 0 and not is_all:
                raise ValueError(
                    f"Index: idx cuts axis {axis} of input_shape {input_shape}, whose size is not "
                    "known; give its size."
                )
            if not is_all:
                _check_entry(entry, input_shape, axis, "Index")
                if isinstance(entry, int):
                    continue
                is_slice = isinstance(entry, _Range)
                size = len(entry.positions(size)) if is_slice else len(entry)
            shape.append(size)
        return tuple(shape), ()

    def apply_fn(params: tuple[()], inputs: Array, **kwargs: object) -> Array:
        array = one_array("Index", inputs)
        for axis, entry in enumerate(_on_axes(entries, array.shape, "Index")):
            _check_entry(entry, array.shape, axis, "Index")
        lists = (np.array(e) if isinstance(e, tuple) else e for e in array_index)
        return array[tuple(lists)]

    def mask_fn(mask: Array, shape: Shape) -> Array:
        return apply_fn((), jnp.broadcast_to(mask, shape).astype(np.float32)) > 0

    return make_layer("Index", label, (_IndexAxes(entries),), init_fn, apply_fn, axes, mask_fn)


def _entry(item: Any) -> Entry:
    """One entry of an index as a part of a program."""
    if isinstance(item, slice):
        start, stop, step = (
            None if part is None else _integer(part) for part in (item.start, item.stop, item.step)
        )
        if step == 0:
            raise ValueError("Index: idx holds a slice of step 0; use a step of at least 1.")
        return _Range(start, stop, step)
    if item is Ellipsis:
        return item
    if isinstance(item, tuple | list | np.ndarray) and np.ndim(item) == 1:
        return tuple(map(_integer, item))
    return _integer(item)


def _integer(item: Any) -> int:
    try:
        if isinstance(item, bool | np.bool_):
            raise TypeError
        return operator.index(item)
    except TypeError:
        raise TypeError(
            f"Index: idx holds {describe(item)}, expected slices, integers, tuples of integers or "
            "`...`, such as stax.Slice[:, 1:4, ::2]; for a mask, pass the positions where it holds."
        ) from None


def _on_axes(entries: tuple[Entry, ...], shape: Shape, place: str) -> tuple[Entry, ...]:
    """An entry for each axis of the input."""
    dots = [k for k, entry in enumerate(entries) if entry is Ellipsis]
    given = len(entries) - len(dots)
    if len(dots) > 1 or given > len(shape):
        raise LayerError(
            f"{place}: idx has {given} entries and {len(dots)} times `...`, but its input of shape "
            f"{shape} has {len(shape)} axes; give at most one entry for each axis, and one `...`."
        )
    at = dots[0] if dots else len(entries)
    rest = (_Range(),) * (len(shape) - given)
    return (*entries[:at], *rest, *entries[at + 1 :])


def _check_entry(entry: Entry, shape: Shape, axis: int, place: str) -> None:
    """An entry must take something that is there."""
    size = shape[axis]
    if isinstance(entry, _Range):
        is_good = len(entry.positions(size)) > 0
    else:
        items = entry if isinstance(entry, tuple) else (entry,)
        is_good = bool(items) and all(-size <= item < size for item in items)
    if not is_good:
        raise LayerError(
            f"{place}: idx takes {_shown(entry)} of axis {axis}, which is of size {size} in its "
            f"input of shape {shape}; take at least one entry from 0 to {size - 1}."
        )


def _shown(entry: Entry) -> str:
    if entry is Ellipsis:
        return "..."
    if isinstance(entry, _Range):
        parts = (entry.start, entry.stop, entry.step)
        start, stop, step = ("" if part is None else str(part) for part in parts)
        return f"{start}:{stop}" + (f":{step}" if step else "")
    return str(entry)
