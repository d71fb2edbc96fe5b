"""The contract between a layer's kernel and the engine.

Every layer acts on the kernel by one of a few operations. An operation says, without arithmetic,
what signal comes out (`infer`), which diagonals of its inputs it needs for the wanted diagonals of
its output (`demand`), and in which form it takes and gives kernels (`accepts`, `form`). Operations
are pytrees: their numbers (standard deviations, slopes) may be traced, and networks which differ in
them alone share one compiled program.

There are four kinds. The engine never asks for the kind, only for what follows from it:

- a `RowOperation` makes each output diagonal of one diagonal of each input;
- a `Collector` makes its diagonals of many: the engine hands it one at a time, to add to a total.
  A band of weights (a pool) adds each where it belongs; an operation on whole kernels
  (`WholeOperation`) stores all of them, and then has the kernel of all pairs of positions;
- an input has no inputs of its own;
- a `BatchOperation` acts along the batch axis and needs whole batches (see `graph.py`).

The arithmetic is split by what it depends on, because the engine loops over diagonals and pairs of
images: on one image alone (`of_image`), on the diagonal alone (`masks`), on one image and the
diagonal (`seen`), and on a pair (`pair`).
"""

import dataclasses
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.algebra.diagonals import Diagonals, Rows, Shift
from ntkjax._kernel.algebra.errors import LayerError as LayerError
from ntkjax._kernel.algebra.form import Form
from ntkjax._kernel.algebra.form import taken as taken
from ntkjax._kernel.algebra.image import Ahead, Image
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.algebra.masks import all_masked
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._kernel.algebra.sides import NO_HALO, Halo, Row, Side
from ntkjax._kernel.algebra.signal import Signal


def static(**kwargs: Any) -> Any:
    """A field that is part of the program, not a number in it."""
    return dataclasses.field(metadata={"static": True}, **kwargs)


T = TypeVar("T")


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static,))
def operation(cls: type[T]) -> type[T]:
    """Class decorator: a frozen dataclass that is a pytree; mark static fields with `static()`."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True, eq=False)(cls))


@dataclasses.dataclass(frozen=True)
class Place:
    """What the planner decided for the output of one operation in its network.

    Attributes:
      signal: the signal there.
      cross: the diagonals of the kernel between the two batches that are held.
      own: the diagonals of the kernels of images with themselves; None where none are needed.
      form: the form in which they are held.
      halo: how many entries a row holds beyond its ends, for the windows that read it.
      is_ring: whether these are the row's other end, not zeros.
    """

    signal: Signal
    cross: Diagonals
    own: Diagonals | None
    form: Form
    halo: Halo
    is_ring: bool


@dataclasses.dataclass(frozen=True)
class Step:
    """One operation in its network: the places that it takes, and the place that it makes.

    Attributes:
      inputs: the places of its inputs; of their forms, what `accepts` said.
      here: the place of its output.
      renews_scale: whether the images get a scale of their own here.
      is_unscaled: whether all images have scale 1, because they are alike in size.
      is_supplement: whether the moments are E (g + g')^2 rather than E (g - g')^2 (see `pairs.py`
        of the engine).
    """

    inputs: tuple[Place, ...]
    here: Place
    renews_scale: bool = False
    is_unscaled: bool = False
    is_supplement: bool = False

    @property
    def below(self) -> Diagonals:
        """Geometry of its first input."""
        return self.inputs[0].cross

    @property
    def given(self) -> Form:
        """The form in which it takes its first input."""
        return self.inputs[0].form

    @property
    def signal(self) -> Signal:
        """The signal of its first input."""
        return self.inputs[0].signal


class Context(NamedTuple):
    """What an operation is told about single images.

    Attributes:
      step: the operation in its network.
      count: how many images these are.
      ahead: the affine maps that a new scale will meet.
      array: of an input, the batch, or the covariances of the images with themselves.
      own: of a collector, the kernels of the images with themselves, `[row, position per axis ...,
        image]`, as `finish` left them; None where they are not needed.
    """

    step: Step
    count: int
    ahead: Ahead = Ahead()
    array: Any = None
    own: Any = None


class Seen(NamedTuple):
    """What the pairs on a diagonal are made of, besides the pairs before them.

    Attributes:
      masks: what depends on the diagonal alone.
      first: what first images contribute.
      second: what second images contribute.
      same: which pairs are of one image with itself, `[*lanes]`; None if none is.
      is_symmetric: whether first and second images are known to be the same, in the same order.
    """

    masks: Any = None
    first: Any = None
    second: Any = None
    same: Array | None = None
    is_symmetric: bool = False


class Operation:
    """One step of the kernel recursion. The defaults are those of a linear pointwise operation."""

    #: Whether its diagonals are held before the segments that start from them.
    is_stored = False
    #: Whether it makes its diagonals of many of its input (see `Collector`).
    collects = False
    #: Whether it needs whole batches (see `BatchOperation`).
    along_batch = False
    #: Whether the kernels of images with themselves are needed on all diagonals.
    needs_self = False
    #: Whether those kernels are needed for the variances of the output (pools).
    needs_energy = False
    #: Whether moments E (g + g')^2 may be carried through it.
    carries_supplement = False
    #: Whether its maps are needed when its diagonals are stored, not on each of them.
    is_seen_whole = False
    #: Whether the output is held as distances whatever comes later.
    gives_distance = False
    #: Whether it can use E (g + g')^2 of its input beside the distances.
    takes_supplement = False
    #: Whether it leaves images at scale 1 where the step says that they are unscaled.
    works_unscaled = False
    #: Whether its maps are of its output, seen on the output's diagonal, not of its input.
    maps_output = False
    #: Axes before the positions of the maps of `of_image`.
    map_axes = 0
    #: Whether it gives variance to points that have none, so that masked ones are to be made so
    #: again after the layer.
    unmasks = True
    #: Keywords of `kernel_fn` that it takes: arrays of images, which it finds in `Image.data`.
    keywords: tuple[str, ...] = ()
    #: What stands for an input of arrays and this operation on it; None if nothing does.
    with_arrays: Any = None
    #: Of a collector, how many more arrays as large as its total it holds at a time.
    copies = 0

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        """The signal after this operation; raises `LayerError` where the input does not fit.

        `source` names this operation uniquely in its network.
        """
        raise NotImplementedError

    # What is held.

    def takes_distance(self, is_distance: bool) -> bool:
        """Whether inputs must be held as distances, if the output is or is not."""
        return is_distance

    def accepts(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> tuple[Form, ...]:
        """The forms in which it takes inputs that are held in other forms."""
        takes = self.takes_distance(is_distance)
        excess = takes and all(form.is_excess for form in given)
        return tuple(taken(form, takes, excess, ntk) for form in given)

    def form(self, given: tuple[Form, ...], is_distance: bool, ntk: bool) -> Form:
        """The form of its output, of inputs in the forms that it accepts."""
        has_tangent = ntk and any(form.has_tangent for form in given)
        excess = is_distance and bool(given) and all(form.is_excess for form in given)
        return Form(is_distance, has_tangent, excess)

    def renews_scale(self, scales: tuple[int, ...]) -> bool:
        """Whether images get a new scale, of inputs whose scales have these names."""
        return len(set(scales)) > 1

    def fits_unscaled(self, maps: Any) -> Array | bool:
        """Whether images that get a scale here lose nothing without it, besides for their sizes.

        `maps` are what `of_image` makes of images that have scales.
        """
        del maps
        return True

    # What is masked.

    def mask(self, masks: tuple[Array, ...], signal: Signal) -> Array:
        """Where its output, of this signal, is masked, of where its inputs are.

        Masks are `[position per axis ..., image]`. As it stands: where all inputs are, of the same
        positions; and where an operation leaves no positions, images of which all are masked.
        """
        return all_masked(masks, signal)

    def where_masked(self) -> tuple["Operation", ...]:
        """The operations, one after the other, that stand for it where inputs are masked."""
        return (self,)

    def affine_variances(self) -> tuple[Any, Any] | None:
        """Variances of weights and biases, where the operation has such; for `Ahead`."""
        return None

    # Which diagonals.

    @property
    def keeps_periods(self) -> bool:
        """Whether the output has the input's axes, with their periods up to `period_ratio`."""
        return True

    def period_ratio(self, signal: Signal, axis: int) -> tuple[Fraction, int | None]:
        """Output period over input period along an axis, and the input period if it is fixed."""
        del signal, axis
        return Fraction(1), None

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        """The rows of an input (whose geometry is `given`) that the output rows are made of."""
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

    # What it costs.

    @property
    def work(self) -> int:
        """Floating-point operations for each position of a pair, roughly, for each kernel."""
        return 2

    @property
    def is_costly(self) -> bool:
        """Whether making a pair takes so long that it is stored rather than made again."""
        return False

    # The arithmetic.

    def of_image(self, images: tuple[Image, ...], context: Context) -> tuple[Image, Any]:
        """What belongs to images after the operation, and what their pairs need of them.

        The latter are maps `[position per axis ..., *lanes]`, with 1 for an axis along which all
        positions are alike, in any pytree; None for nothing.
        """
        raise NotImplementedError

    def masks(self, here: Row, below: Row | None, step: Step) -> Any:
        """Whatever depends on the diagonal alone."""
        del here, below, step

    def seen(self, maps: Any, masks: Any, side: Side, step: Step) -> Any:
        """What the pairs on a diagonal need of one image, where that depends on the diagonal.

        Of its maps, as the pairs see them: of the input's positions, with the halo that the
        operation reads. Without masks, these themselves.
        """
        del masks, side, step
        return maps

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        """The pairs after this operation, of those before; of a stored diagonal, that diagonal.

        An operation that takes a supplement has a further argument of that name, E (g + g')^2 of
        its input, or None where it is not known.
        """
        raise NotImplementedError

    def needs_supplement(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Array:
        """Whether these pairs lose digits without E (g + g')^2; a scalar."""
        raise NotImplementedError


class RowOperation(Operation):
    """An operation which makes each output diagonal of one diagonal of each input."""

    @property
    def keeps_rows(self) -> bool:
        """Whether that is the diagonal of the same displacement, and of the same geometry."""
        return True

    def source(self, shift: Shift, below: Diagonals) -> Shift:
        """The input diagonal of an output diagonal."""
        del below
        return shift


class Collector(Operation):
    """An operation which makes its diagonals of many diagonals of its one input."""

    is_stored = True
    collects = True

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

    def stored(self, rows: Pairs, seen: Seen, step: Step) -> Pairs:
        """The rows to store, of those that `finish` made: `[row, position per axis ..., *lanes]`.

        The two sides of `seen` are what `of_image` says that pairs need, images last, as they are.
        """
        del seen, step
        return rows

    def stored_own(self, rows: Pairs, maps: Any, step: Step) -> Pairs:
        """The same of the kernels of images with themselves: of one axis of lanes."""
        lanes = rows.moment.shape[-1:]
        return self.stored(rows, Seen(None, maps, maps, jnp.ones(lanes, bool)), step)

    def pair(self, pairs: tuple[Pairs, ...], seen: Seen, step: Step) -> Pairs:
        """A stored diagonal, as it is given on."""
        return pairs[0]


class BatchOperation(Operation):
    """An operation along the batch axis: what is below is made whole, and its result an input."""

    along_batch = True
    #: Whether it needs the kernels of all pairs of examples of a batch, or of each with itself.
    mixes_examples = True

    def of_batches(self, *kernels: Kernel) -> Kernel:
        """The kernel after the operation, of its inputs' kernels for all pairs of positions.

        Where it mixes examples, `cov1` of these is (n1, n1, ...), and `diagonal_batch` False.
        """
        raise NotImplementedError
