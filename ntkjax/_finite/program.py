"""A function as the flat list of operations that JAX traced, with calls of compiled parts inlined.

Its values are numbered. Of f(w, x) = tanh(x @ w), inputs are values 0 and 1, the first step makes
value 2 of (1, 0) by `dot_general`, the second one value 3 of (2,) by `tanh`, and the output is 3.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ntkjax._jax_compat import evaluated, is_literal

#: An input of a step: the number of a value, or a number written into the program (a literal).
Atom = Any


@dataclasses.dataclass(frozen=True)
class Step:
    """One operation, with the numbers of the values that it takes and makes."""

    equation: Any
    inputs: tuple[Atom, ...]
    outputs: tuple[int, ...]

    @property
    def name(self) -> str:
        """The name of the operation."""
        return self.equation.primitive.name

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What the operation is told besides its inputs."""
        return self.equation.params


@dataclasses.dataclass(frozen=True)
class Program:
    """Steps that make outputs of inputs and constants; `avals` are shapes and dtypes of values."""

    avals: tuple[Any, ...]
    inputs: tuple[int, ...]
    constants: Mapping[int, Any]
    steps: tuple[Step, ...]
    outputs: tuple[Atom, ...]

    def __call__(
        self, inputs: Sequence[Any], instead: Mapping[int, Callable[..., Any]] | None = None
    ) -> list[Any]:
        """The outputs.

        `instead` replaces steps: it is called with the number of the step, its inputs, and a
        function that reads values.
        """
        values = dict(self.constants)
        values.update(zip(self.inputs, inputs, strict=True))

        def read(atom: Atom) -> Any:
            return atom.val if is_literal(atom) else values[atom]

        for k, step in enumerate(self.steps):
            given = [read(atom) for atom in step.inputs]
            if instead is not None and k in instead:
                made = [instead[k](k, given, read)]
            else:
                made = evaluated(step.equation, given)
            values.update(zip(step.outputs, made, strict=True))
        return [read(atom) for atom in self.outputs]

    def shape(self, atom: Atom) -> tuple[int, ...]:
        """The shape of a value or literal."""
        return tuple((atom.aval if is_literal(atom) else self.avals[atom]).shape)

    def dtype(self, atom: Atom) -> Any:
        """The dtype of a value or literal."""
        return (atom.aval if is_literal(atom) else self.avals[atom]).dtype

    def bytes(self, value: int) -> int:
        """Bytes that a value takes."""
        dtype = self.dtype(value)
        size = dtype.itemsize if isinstance(dtype, np.dtype) else 8
        return math.prod(self.shape(value)) * size


def traced(function: Callable[..., Any], *examples: Any) -> Program:
    """The program of a function of arrays, or trees of them, of these shapes."""
    closed = jax.make_jaxpr(function)(*examples)
    return flat(closed.jaxpr, closed.consts)


def flat(jaxpr: Any, constants: Sequence[Any]) -> Program:
    """A traced program of JAX as a list of steps."""
    avals: list[Any] = []
    steps: list[Step] = []
    known: dict[int, Any] = {}

    def new(variable: Any) -> int:
        avals.append(variable.aval)
        return len(avals) - 1

    def walk(jaxpr: Any, constants: Sequence[Any], inputs: Sequence[Atom]) -> list[Atom]:
        names = dict(zip(jaxpr.invars, inputs, strict=True))
        for variable, constant in zip(jaxpr.constvars, constants, strict=True):
            names[variable] = new(variable)
            known[names[variable]] = constant

        def read(atom: Any) -> Atom:
            return atom if is_literal(atom) else names[atom]

        for equation in jaxpr.eqns:
            given = tuple(map(read, equation.invars))
            if equation.primitive.name in ("jit", "pjit", "closed_call"):
                inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
                made = walk(inner.jaxpr, inner.consts, given)
            else:
                made = [new(variable) for variable in equation.outvars]
                steps.append(Step(equation, given, tuple(made)))
            names.update(zip(equation.outvars, made, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    inputs = tuple(map(new, jaxpr.invars))
    outputs = walk(jaxpr, constants, inputs)
    return Program(tuple(avals), inputs, known, tuple(steps), tuple(outputs))


def programs_within(step: Step) -> list[Program]:
    """The programs that a step holds: the body of a loop, or each of several branches."""
    return [program for parameter in step.parameters.values() for program in _programs(parameter)]


def _programs(parameter: Any) -> list[Program]:
    """The programs in a parameter of a step: one, open or with constants, or several branches."""
    if isinstance(parameter, (tuple, list)):
        return [program for one in parameter for program in _programs(one)]
    if hasattr(parameter, "jaxpr"):
        return [flat(parameter.jaxpr, parameter.consts)]
    if hasattr(parameter, "eqns"):  # as of `jax.checkpoint`, which has no constants
        return [flat(parameter, ())]
    return []
