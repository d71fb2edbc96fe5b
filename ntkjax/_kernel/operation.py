"""The contract between a layer's kernel and the engine.

Every layer acts on the kernel by one of a few operations. An operation says, without arithmetic,
what signal comes out (`infer`) and which diagonals of its input the wanted diagonals of its output
are made of (`demand`); `apply` does the arithmetic on whatever block of images and diagonals the
engine hands it. Operations are pytrees: their numbers (standard deviations, slopes) may be traced,
and networks which differ in them alone share one compiled program.
"""

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from typing import Any, TypeVar, dataclass_transform

import jax

from ntkjax._kernel.diagonals import Diagonals, Rows
from ntkjax._kernel.signal import Signal
from ntkjax._kernel.state import Pairs, State, View


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


class Operation:
    """One step of the kernel recursion. The defaults are those of a pointwise operation."""

    #: Whether the output is carried as a distance whatever comes later.
    gives_distance = False
    #: Whether the inputs must be distances, with their variances.
    needs_distance = False
    #: Whether an output diagonal is made of several input diagonals.
    mixes_diagonals = False
    #: Whether the output has the input's axes, and its periods up to `period_ratio`.
    keeps_axes = True
    #: Whether the kernels of images with themselves are needed on all diagonals.
    needs_self = False
    #: Whether those kernels are needed for the variances of the output (pools).
    needs_energy = False

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        """The signal after this operation; raises `LayerError` where the input does not fit.

        `source` names this operation uniquely in its network.
        """
        raise NotImplementedError

    def period_ratio(self, signal: Signal, axis: int) -> tuple[Fraction, int | None]:
        """Output period over input period along an axis, and the input period if it is fixed."""
        del signal, axis
        return Fraction(1), None

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        """The rows of the input (whose geometry is `given`) that the output rows are made of."""
        del given
        return wanted.rows

    def apply(self, states: tuple[State, ...], step: "Step") -> State:
        """The state after this operation."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Step:
    """What the planner decided for one operation in its network.

    Attributes:
      place: where in the network, for messages.
      signals: the signals of its inputs.
      signal: the signal of its output.
      given: diagonals of the cross kernel held at its input.
      wanted: diagonals of the cross kernel to make.
      given_self: diagonals of the self kernels held at its input; None where none are needed.
      wanted_self: diagonals of the self kernels to make.
      in_distances: whether the output is carried as distances.
      symmetric: whether both batches are the same.
    """

    place: str
    signals: tuple[Signal, ...]
    signal: Signal
    given: Diagonals
    wanted: Diagonals
    given_self: Diagonals | None
    wanted_self: Diagonals | None
    in_distances: bool
    symmetric: bool


PairsFn = Callable[[Pairs, View, View], Pairs]


def views(state: State, diagonals: Diagonals) -> View:
    """How the pairs of the cross kernel see the maps of their images."""
    var1 = None if state.var1 is None else state.var1[..., :, None]
    var2 = None if state.var2 is None else state.var2[..., None, :]
    return View(diagonals, var1, var2)


def map_pairs(state: State, step: Step, after: tuple, fn: PairsFn) -> State:
    """Apply `fn` to the pairs of all three pairings, given the variances `after` the operation.

    `fn` gets the pairs, and the view of the maps before and after.
    """
    var1, var2 = after
    new = State(var1, var2, None, None, state.cross)

    def on_self(pairs: Pairs | None, before: Any, later: Any) -> Pairs | None:
        if pairs is None or step.wanted_self is None or step.given_self is None:
            return None
        seen = View(step.given_self, before, before)
        return fn(pairs, seen, View(step.wanted_self, later, later))

    self1 = on_self(state.self1, state.var1, var1)
    self2 = self1 if step.symmetric else on_self(state.self2, state.var2, var2)
    cross = fn(state.cross, views(state, step.given), views(new, step.wanted))
    return State(var1, var2, self1, self2, cross)


def map_variances(state: State, fn: Callable, symmetric: bool) -> tuple:
    """Apply `fn` to the variances of both batches."""
    if state.var1 is None:
        return None, None
    var1 = fn(state.var1)
    return var1, (var1 if symmetric else fn(state.var2))
