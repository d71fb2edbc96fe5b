"""The contract between a layer's kernel and the engine.

Every layer acts on the kernel by one of a few operations. An operation says, without arithmetic,
what signal comes out (`infer`) and which diagonals of its input it needs for the wanted diagonals
of its output (`demand`). Operations are pytrees: their numbers (standard deviations, slopes) may be
traced, and networks which differ in them alone share one compiled program.

A `RowOperation` makes each output diagonal of one input diagonal. Its arithmetic is split by what
it depends on, because the engine loops over diagonals and pairs of images: on one image alone
(`variance`, `maps`), on one image and the diagonal (`image`), on the diagonal alone (`masks`), and
on a pair (`pair`). A `MixingOperation` makes an output diagonal of many; the engine hands it one
input diagonal at a time to add to its total.
"""

import dataclasses
from fractions import Fraction
from typing import Any, TypeVar, dataclass_transform

import jax
import numpy as np
from jax import Array

from ntkjax._kernel.algebra.diagonals import Diagonals, Rows, Shift
from ntkjax._kernel.algebra.signal import Signal
from ntkjax._kernel.algebra.state import NO_HALO, Halo, Pairs, Row, Side


def static(**kwargs: Any) -> Any:
    """A field that is part of the program, not a number in it."""
    return dataclasses.field(metadata={"static": True}, **kwargs)


T = TypeVar("T")


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static,))
def operation(cls: type[T]) -> type[T]:
    """Class decorator: a frozen dataclass that is a pytree; mark static fields with `static()`."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True, eq=False)(cls))


class LayerError(ValueError):
    """A layer cannot take its input; the message names the layer and its place."""


@dataclasses.dataclass(frozen=True)
class Step:
    """What the planner decided for one operation in its network.

    Attributes:
      signal: the signal of its (first) input.
      below: geometry of its (first) input.
      here: geometry of its output, and the rows of the cross kernel to hold.
      in_distances: whether the output is carried as distances rather than covariances.
      ntk: whether the neural tangent kernel is wanted.
      given_excess: whether that of the input is given as its excess over the covariance.
      is_excess: whether that of the output is carried so.
    """

    signal: Signal
    below: Diagonals
    here: Diagonals
    in_distances: bool
    ntk: bool
    given_excess: bool = False
    is_excess: bool = False


class Operation:
    """One step of the kernel recursion. The defaults are those of a pointwise operation."""

    #: Whether the output is carried as a distance whatever comes later.
    gives_distance = False
    #: Whether the inputs must be distances, with their variances.
    needs_distance = False
    #: Whether the kernels of images with themselves are needed on all diagonals.
    needs_self = False
    #: Whether those kernels are needed for the variances of the output (pools).
    needs_energy = False

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        """The signal after this operation; raises `LayerError` where the input does not fit.

        `source` names this operation uniquely in its network.
        """
        raise NotImplementedError

    @property
    def keeps_periods(self) -> bool:
        """Whether the output has the input's axes, with their periods up to `period_ratio`."""
        return True

    def period_ratio(self, signal: Signal, axis: int) -> tuple[Fraction, int | None]:
        """Output period over input period along an axis, and the input period if it is fixed."""
        del signal, axis
        return Fraction(1), None

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        """The rows of the input (whose geometry is `given`) that the output rows are made of."""
        del given
        return wanted.rows

    def halo(self, below: Diagonals, here: Diagonals) -> Halo:
        """The entries around those of a row of its input that the operation reads."""
        del here
        return NO_HALO * below.ndim

    @property
    def is_ring(self) -> bool:
        """Whether what it reads there must be the row's other end."""
        return False

    def is_excess(self, given: tuple[bool, ...], in_distances: bool) -> bool:
        """Whether the tangent kernel is given on as its excess; linear operations keep it."""
        del in_distances
        return bool(given) and all(given)

    def has_tangent(self, given: bool, step: Step) -> bool:
        """Whether what is held of the tangent kernel is other than zero, if that of an input is."""
        del step
        return given

    def takes_excess(self, is_excess: bool) -> bool:
        """Whether an input may be an excess, for an output that is one or not."""
        return is_excess

    def variance(self, variances: tuple[Array, ...], step: Step) -> Array:
        """Variances of single images, `[position per axis ..., *lanes]`, after the operation."""
        raise NotImplementedError


class RowOperation(Operation):
    """An operation which makes each output diagonal of one input diagonal."""

    @property
    def work(self) -> int:
        """Floating-point operations for each position of a pair, roughly, for each kernel."""
        return 2

    @property
    def is_costly(self) -> bool:
        """Whether making a pair takes so long that it is stored rather than made again."""
        return False

    @property
    def keeps_rows(self) -> bool:
        """Whether that is the diagonal of the same displacement, and of the same geometry."""
        return True

    @property
    def reads_channels(self) -> bool:
        """Whether the kernel depends on the number of channels of the finite network."""
        return False

    def source(self, shift: Shift, below: Diagonals) -> Shift:
        """The input diagonal of an output diagonal."""
        del below
        return shift

    def masks(self, here: Row, below: Row) -> Any:
        """Whatever depends on the diagonal alone."""
        del here, below

    def maps(self, variance: Array | None, step: Step) -> Any:
        """Whatever depends on one image alone: maps `[position per axis ..., *lanes]` or None.

        `variance` is that of the (first) input; None in covariance form.
        """
        del variance, step

    def image(self, maps: Any, masks: Any, side: Side, step: Step) -> Any:
        """What the pairs on a diagonal need of one image, where that depends on the diagonal.

        Of its maps, as the pairs see them: of the input's positions, with the halo that the
        operation reads. Without masks, these themselves.
        """
        del masks, side, step
        return maps

    def pair(
        self, pairs: tuple[Pairs, ...], masks: Any, first: Any, second: Any, step: Step
    ) -> Pairs:
        """The pairs after this operation, given those before and the two images' contributions."""
        raise NotImplementedError


class MixingOperation(Operation):
    """An operation which makes an output diagonal of many input diagonals."""

    needs_energy = True

    def groups(self, rows: Diagonals, here: Diagonals, images: int) -> tuple[int, ...]:
        """How many neighbouring input rows along each axis to make together and hand to `add`.

        `images` is the number of images along the last lanes of their pairs.
        """
        del here, images
        return (1,) * rows.ndim

    def start(self, below: Diagonals, here: Diagonals, lanes: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the total, of which `finish` makes [row, position per axis ..., *lanes]."""
        raise NotImplementedError

    def finish(self, total: Array, below: Diagonals) -> Array:
        """The output rows, of the total over all input rows."""
        del below
        return total

    def add(
        self,
        total: Array,
        rows: Array,
        shift: Shift,
        lanes: tuple[Any, ...],
        below: Diagonals,
        here: Diagonals,
    ) -> Array:
        """Add what a group of input rows, at displacements `shift`, contributes.

        The rows `[position per axis ..., *lanes]`, with their halo, are those of a block of pairs
        which starts at `lanes`; several of them share the lanes (see `lanes.py`).
        """
        raise NotImplementedError

    def positions(self, image_map: Array, below: Diagonals, here: Diagonals) -> Array:
        """The operation on a map of positions of single images."""
        raise NotImplementedError

    def mass(self, below: Diagonals, here: Diagonals) -> np.ndarray:
        """The sum of the weights of each output position."""
        raise NotImplementedError
