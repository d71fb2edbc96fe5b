"""Where weights enter a network: as one operand of a product or a convolution, y = x w.

At such a site the gradient of an output f with respect to w is a sum over positions t of what comes
in times what goes back,

    df/dw[b, k, d] = sum_t x[b, t, k] df/dy[b, t, d],

with groups or heads b, inputs k that are summed, outputs d. Of a convolution, x holds the pixels of
each window; a Dense layer of one example has one position. Who knows x and df/dy knows the
gradient, without the convolutions by which JAX would compute it for each example.

A site is found in the traced program of a network. Weights may be multiplied by a number, reshaped
and transposed before: the inner product of two gradients does not change by an order of entries.

Source: Novak et al. 2022, arXiv 2206.08720, section 3.3.
"""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntkjax._finite.program import Atom, Program, Step
from ntkjax._jax_compat import is_literal

#: Operations that change the order or the shape of entries.
_ORDERS = {"reshape", "squeeze", "expand_dims", "transpose", "rev", "copy", "copy_p"}


@dataclasses.dataclass(frozen=True)
class Site:
    """One product of inputs and weights.

    Attributes:
      step: its number in the program.
      leaf: the number of the parameter.
      side: 0 or 1, which operand the weights are.
      factors: numbers that the parameter is multiplied by.
      origin: what else was done to the parameter before, and how the product sums it.
      groups: length of b.
      positions: length of t.
      inputs: length of k.
      outputs: length of d.
    """

    step: int
    leaf: int
    side: int
    factors: tuple[Atom, ...]
    origin: tuple[str, ...]
    groups: int
    positions: int
    inputs: int
    outputs: int

    def is_like(self, other: "Site") -> bool:
        """Whether gradients of both have the same entries in the same order."""
        names = ("leaf", "origin", "groups", "inputs", "outputs")
        return all(getattr(self, name) == getattr(other, name) for name in names)


def sites(program: Program, parameters: int) -> list[Site]:
    """The sites of a program whose first inputs are parameters that enter nowhere else."""
    weights: dict[Any, tuple[int, tuple[Atom, ...], tuple[str, ...]]] = {
        program.inputs[leaf]: (leaf, (), ()) for leaf in range(parameters)
    }
    uses = [0] * parameters
    found: list[Site] = []
    for k, step in enumerate(program.steps):
        used = [i for i, atom in enumerate(step.inputs) if not is_literal(atom) and atom in weights]
        if not used:
            continue
        leaf, factors, origin = weights[step.inputs[used[0]]]
        if step.name in _ORDERS:
            how = f"{step.name} {sorted(step.parameters.items())}"
            weights[step.outputs[0]] = leaf, factors, (*origin, how)
            continue
        more = _factor(program, k, used)
        if more is not None:
            weights[step.outputs[0]] = leaf, (*factors, more), origin
            continue
        for i in used:
            uses[weights[step.inputs[i]][0]] += 1
        if len(used) == 1 and (sizes := _sizes(program, k, used[0])):
            how = _sums(step, used[0])
            found.append(Site(k, leaf, used[0], factors, (*origin, how), *sizes))
    for atom in program.outputs:
        if not is_literal(atom) and atom in weights:
            uses[weights[atom][0]] += 1
    # A value that is read twice was counted at each reader, whatever was done to it before.
    return [site for site in found if uses[site.leaf] == 1]


def _sums(step: Step, side: int) -> str:
    """Which axes of the weights a product sums, and which it shares."""
    numbers = step.parameters["dimension_numbers"]
    if step.name == "dot_general":
        numbers = [dims[side] for dims in numbers]
    return f"{step.name} {numbers}"


def _factor(program: Program, k: int, used: list[int]) -> Atom | None:
    """The number that a step multiplies weights by."""
    step = program.steps[k]
    if step.name != "mul" or len(used) != 1:
        return None
    other = step.inputs[1 - used[0]]
    return None if program.shape(other) else other


def _sizes(program: Program, k: int, side: int) -> tuple[int, int, int, int] | None:
    """Groups, positions, inputs and outputs of a product; None for what is none."""
    step = program.steps[k]
    if step.name not in ("dot_general", "conv_general_dilated"):
        return None
    dtypes = {program.dtype(atom) for atom in (*step.inputs, *step.outputs)}
    if len(dtypes) != 1:
        return None
    weights, x = program.shape(step.inputs[side]), program.shape(step.inputs[1 - side])
    if step.name == "dot_general":
        contracted, batch = (dims[side] for dims in step.parameters["dimension_numbers"])
        groups = math.prod(weights[a] for a in batch)
        inputs = math.prod(weights[a] for a in contracted)
        outputs = math.prod(weights) // max(groups * inputs, 1)
        return groups, math.prod(x) // max(groups * inputs, 1), inputs, outputs
    if side == 0 or step.parameters["batch_group_count"] != 1:
        return None
    numbers, groups = step.parameters["dimension_numbers"], step.parameters["feature_group_count"]
    outputs = weights[numbers.rhs_spec[0]]
    y = program.shape(step.outputs[0])
    return groups, math.prod(y) // outputs, math.prod(weights) // outputs, outputs // groups


def inputs_at(program: Program, site: Site, x: Array) -> Array:
    """What comes into a site, (groups, positions, inputs)."""
    step = program.steps[site.step]
    if step.name == "conv_general_dilated":
        windows = _windows(step.parameters, program.shape(step.inputs[1]), x)
        return windows.reshape(site.groups, site.positions, site.inputs)
    contracted, batch = (dims[1 - site.side] for dims in step.parameters["dimension_numbers"])
    # In the order in which the weights are summed, whose gradient is then in their order.
    free = [a for a in range(x.ndim) if a not in (*contracted, *batch)]
    return x.transpose(*batch, *free, *contracted).reshape(site.groups, site.positions, site.inputs)


def cotangents_at(program: Program, site: Site, back: Array) -> Array:
    """What goes back from a site, (groups, positions, outputs), of one cotangent of its output."""
    step = program.steps[site.step]
    if step.name == "conv_general_dilated":
        batch, features, *spatial = step.parameters["dimension_numbers"].out_spec
        shape = (site.positions, site.groups, site.outputs)
        return back.transpose(batch, *spatial, features).reshape(shape).swapaxes(0, 1)
    if site.side == 1:
        return back.reshape(site.groups, site.positions, site.outputs)
    return back.reshape(site.groups, site.outputs, site.positions).swapaxes(1, 2)


def _windows(parameters: Any, filters: tuple[int, ...], x: Array) -> Array:
    """The pixels of each window, (groups, images, *positions, taps, channels of a group)."""
    numbers, groups = parameters["dimension_numbers"], parameters["feature_group_count"]
    batch, features, *spatial = numbers.lhs_spec
    x = x.transpose(batch, *spatial, features)
    sizes = [filters[a] for a in numbers.rhs_spec[2:]]
    strides, steps = parameters["window_strides"], parameters["rhs_dilation"]
    inner = [(lo, hi, gap - 1) for (lo, hi), gap in
             zip(parameters["padding"], parameters["lhs_dilation"], strict=True)]  # fmt: skip
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *inner, (0, 0, 0)])
    count = [
        (n - (size - 1) * step - 1) // stride + 1
        for n, size, step, stride in zip(x.shape[1:-1], sizes, steps, strides, strict=True)
    ]
    taps = []
    for tap in np.ndindex(*sizes):
        start = [k * step for k, step in zip(tap, steps, strict=True)]
        ends = [
            s + (c - 1) * stride + 1 for s, c, stride in zip(start, count, strides, strict=True)
        ]
        taps.append(lax.slice(x, [0, *start, 0], [len(x), *ends, x.shape[-1]], [1, *strides, 1]))
    windows = jnp.stack(taps, axis=-2)
    windows = windows.reshape(*windows.shape[:-1], groups, -1)
    return jnp.moveaxis(windows, -2, 0)
