"""What the values of a traced program depend on: parameters alone, an example, or a row of it.

A program that is mapped over e examples and r rows of each makes a value once, e times or e r
times, by what it depends on.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ntkjax._finite.program import Program, Step
from ntkjax._jax_compat import is_literal

#: On parameters alone, on the example, on the row.
ONCE, EXAMPLE, ROW = range(3)


def kinds_of_values(program: Program, kinds: Sequence[int]) -> dict[Any, int]:
    """What each value of a program depends on, of inputs that depend on `kinds`."""
    kind: dict[Any, int] = dict.fromkeys(program.constants, ONCE)
    kind.update(zip(program.inputs, kinds, strict=True))
    for step in program.steps:
        kind.update(dict.fromkeys(step.outputs, max(kinds_of_inputs(step, kind), default=ONCE)))
    return kind


def kinds_of_inputs(step: Step, kind: Mapping[Any, int]) -> list[int]:
    """What the inputs of a step depend on, of the kinds of all values before it."""
    return [ONCE if is_literal(atom) else kind[atom] for atom in step.inputs]
