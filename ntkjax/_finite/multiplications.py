"""How many multiplications a traced program takes, once, for each example and for each row.

Only products and convolutions count. Those within the programs that a step holds count as well: of
`jax.checkpoint` as they stand, of `lax.scan` once for each turn, of `lax.cond` those of the branch
that takes most. A branch whose number depends on the example is made for every example, and so are
all the others, since JAX then selects among their results. How often `lax.while_loop` turns is
known to no one before it runs: one turn counts.

    def f(w, x):                                # w of (8, 3), x of (4, 8), of one example
        return jax.checkpoint(jnp.dot)(x, w)    # 4 * 8 * 3 multiplications for each example
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ntkjax._finite.dependence import ONCE, kinds_of_inputs, kinds_of_values
from ntkjax._finite.program import Program, Step, programs_within
from ntkjax._jax_compat import is_literal


def multiplications(program: Program, kinds: Sequence[int]) -> np.ndarray:
    """The multiplications that depend on parameters alone, on the example and on the row, (3,)."""
    kind = kinds_of_values(program, kinds)
    total = np.zeros(3)
    for step in program.steps:
        given = kinds_of_inputs(step, kind)
        inner = programs_within(step)
        if not inner:
            total[max(given, default=ONCE)] += _of_step(program, step)
        elif step.name == "cond":
            total += _of_branches(inner, given)
        elif step.name == "scan":
            total += step.parameters["length"] * _of_turn(program, inner[0], given, step)
        else:
            total += sum(_of_program(one, given) for one in inner)
    return total


def _of_branches(branches: Sequence[Program], given: Sequence[int]) -> np.ndarray:
    """Of a `cond`: the largest of its branches, or all of them where each example has its own."""
    choice, *operands = given
    made = [multiplications(one, [max(choice, kind) for kind in operands]) for one in branches]
    return np.max(made, axis=0) if choice == ONCE else np.sum(made, axis=0)


def _of_turn(program: Program, body: Program, given: Sequence[int], step: Step) -> np.ndarray:
    """Of one turn of a `scan`, whose carry depends on all that any turn adds to it.

    It takes constants, the carry and arrays of which each turn takes an entry; it returns the carry
    and arrays of the entries that each turn makes. These arrays have an axis more than an entry.
    """

    def of_entries(whole: Sequence[Any], parts: Sequence[Any]) -> int:
        pairs = zip(whole, parts, strict=True)
        return sum(len(program.shape(a)) > len(body.shape(b)) for a, b in pairs)

    end = len(body.inputs) - of_entries(step.inputs, body.inputs)
    count = len(body.outputs) - of_entries(step.outputs, body.outputs)
    carry = slice(end - count, end)
    before: list[int] = []
    kinds = list(given)
    while kinds != before:
        before, values = list(kinds), kinds_of_values(body, kinds)
        made = (ONCE if is_literal(atom) else values[atom] for atom in body.outputs)
        kinds[carry] = map(max, kinds[carry], made)
    return multiplications(body, kinds)


def _of_program(program: Program, given: Sequence[int]) -> np.ndarray:
    """Of a program that is called with the inputs of its step, or with others made of them."""
    if len(program.inputs) == len(given):
        return multiplications(program, given)
    return multiplications(program, [max(given, default=ONCE)] * len(program.inputs))


def _of_step(program: Program, step: Step) -> float:
    """Of a product or a convolution; none of anything else."""
    if step.name == "dot_general":
        (contracted, _), _ = step.parameters["dimension_numbers"]
        shape = program.shape(step.inputs[0])
        return math.prod(program.shape(step.outputs[0])) * math.prod(shape[a] for a in contracted)
    if step.name == "conv_general_dilated":
        out_axis = step.parameters["dimension_numbers"].rhs_spec[0]
        filters = program.shape(step.inputs[1])
        taps = math.prod(filters) / filters[out_axis]
        return math.prod(program.shape(step.outputs[0])) * taps
    return 0.0
