"""What a traced function takes of memory and arithmetic, mapped over examples and rows of each.

A function of parameters, of one example and of one cotangent is traced once. Mapped over e examples
and r cotangents for each, a value that depends on parameters alone exists once, one that depends on
the example e times, and one that depends on the cotangent e r times. Values live from the step that
makes them to the last one that reads them, so at every step

    bytes(e, r) = once + e (example + r row),

and the largest of these is the memory that the mapped function takes. XLA may take less, since it
fuses operations on single entries; it copies operands of convolutions into its own layout, and
these copies are counted.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ntkjax._finite.dependence import ONCE, kinds_of_values
from ntkjax._finite.multiplications import multiplications
from ntkjax._finite.program import Program, Step, programs_within
from ntkjax._jax_compat import is_literal

#: Operations whose output is their input in another shape, so that it takes no memory.
_VIEWS = {"reshape", "squeeze", "expand_dims", "copy", "copy_p"}
#: Operations that XLA fuses into those that read their output.
_FUSED = {"broadcast_in_dim", "iota"}
#: Operations that may not write their output over an input of its size.
_APART = {
    "dot_general", "conv_general_dilated", "transpose", "rev", "sort", "gather", "concatenate",
    "cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp", "scan", "while", "cond",
    "checkpoint", "remat", "remat2",
}  # fmt: skip
#: Operations whose outputs are those of the programs within them.
_CALLS = {"cond", "checkpoint", "remat", "remat2"}


@dataclasses.dataclass(frozen=True)
class Footprint:
    """Memory and arithmetic of a function that is mapped over examples and rows of each.

    Attributes:
      live: bytes that live at each step, (step, 3): once, for each example, for each row.
      made: bytes of the outputs, (3,).
      operations: multiplications of products and convolutions, (3,).
    """

    live: np.ndarray
    made: np.ndarray
    operations: np.ndarray

    def bytes(self, examples: int, rows: int) -> int:
        """Bytes at the step that takes most, outputs included."""
        return int(np.max(self.live @ np.array([1, examples, examples * rows])))

    def work(self, examples: int, rows: int) -> float:
        """Multiplications."""
        return float(self.operations @ np.array([1, examples, examples * rows]))


def footprint(program: Program, kinds: Sequence[int]) -> Footprint:
    """Of a program whose inputs depend on `kinds`; they are there already and are not counted."""
    kind = kinds_of_values(program, kinds)
    root: dict[int, int] = {}
    last: dict[int, int] = {}

    def store(value: int) -> int:
        return root.get(value, value)

    for k, step in enumerate(program.steps):
        values = [atom for atom in step.inputs if not is_literal(atom)]
        if step.name in _VIEWS and values:
            root[step.outputs[0]] = store(values[0])
        for value in (*values, *step.outputs):
            last[store(value)] = k
    for atom in program.outputs:
        if not is_literal(atom):
            last[store(atom)] = len(program.steps)

    absent = _never_made(program)
    given = {*program.inputs, *program.constants}
    alive, live = np.zeros(3), [np.zeros(3)]

    def total(values: Iterable[int]) -> np.ndarray:
        sizes = np.zeros(3)
        for value in values:
            sizes[kind[value]] += program.bytes(value)
        return sizes

    for k, step in enumerate(program.steps):
        read = {store(atom) for atom in step.inputs if not is_literal(atom)}
        made = [v for v in step.outputs if v not in root and v not in absent]
        ends = {v for v in {*read, *map(store, step.outputs)} - given - absent if last[v] == k}
        fresh = total(made)
        after = alive + fresh - total(ends)
        if step.name in _APART or len(step.outputs) != 1:
            live.append(alive + fresh + _scratch(program, step, total))
        else:  # the output may take the place of an input
            live.append(np.maximum(alive, after))
        alive = after
    live.append(alive)
    outputs = total(atom for atom in program.outputs if not is_literal(atom))
    return Footprint(np.array(live), outputs, multiplications(program, kinds))


def _never_made(program: Program) -> set[int]:
    """Values that exist only within the operations that read them."""
    fused = {v for step in program.steps if step.name in _FUSED for v in step.outputs}
    for step in program.steps:
        if step.name in _APART:
            fused -= {atom for atom in step.inputs if not is_literal(atom)}
    return fused - {atom for atom in program.outputs if not is_literal(atom)}


def _scratch(program: Program, step: Step, total: Callable[[Iterable[int]], np.ndarray]) -> Any:
    """Bytes that a step takes besides its inputs and outputs."""
    if step.name == "conv_general_dilated":
        return total(v for v in (*step.inputs, *step.outputs) if not is_literal(v))
    inner = programs_within(step)
    if not inner:
        return 0.0
    sizes = [footprint(one, [ONCE] * len(one.inputs)) for one in inner]
    if step.name in _CALLS:
        # Their outputs are counted as those of the step. A `cond` whose predicate depends on the
        # example makes all branches and then selects, so that the outputs of each are held.
        beyond = [size.bytes(1, 1) - int(np.sum(size.made)) for size in sizes]
        most = max(max(beyond), 0) + sum(int(np.sum(size.made)) for size in sizes[1:])
    else:
        most = max(size.bytes(1, 1) for size in sizes)
    made = total(step.outputs)
    return most * (made > 0) if made.any() else np.array([most, 0.0, 0.0])
