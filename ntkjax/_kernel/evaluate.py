"""Carry out a plan: the kernel recursion, node by node."""

import dataclasses

import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.diagonals import Diagonals, take_rows
from ntkjax._kernel.graph import at_place
from ntkjax._kernel.inputs import input_state
from ntkjax._kernel.kernel import Kernel
from ntkjax._kernel.operation import Step, views
from ntkjax._kernel.operations.custom import kernel_of_state, state_of_kernel
from ntkjax._kernel.plan import Plan, Request
from ntkjax._kernel.state import Pairs, State, View

Input = tuple[Array, Array | None] | Kernel


def evaluate(plan: Plan, inputs: dict[int, Input], request: Request) -> list[Kernel]:
    """The kernels of the outputs. `inputs` maps each input node to its arrays or its kernel."""
    states: list[State] = []
    for index, node in enumerate(plan.nodes):
        step = plan.step(index) if node.operation else _input_step(plan, index)
        with at_place(node.place):
            if node.operation is None:
                state = _start(inputs[index], step, request)
            else:
                given = tuple(_select(states[i], plan, i, index, step) for i in node.inputs)
                state = node.operation.apply(given, step)
        states.append(state)
    return [_finish(states[i], plan, i, request) for i in plan.outputs]


def _input_step(plan: Plan, index: int) -> Step:
    """What an input of the network must give."""
    node, held = plan.nodes[index], plan.held[index]
    return Step(
        node.place, (), node.signal, held.cross, held.cross, held.own, held.own,
        held.in_distances, plan.symmetric,
    )  # fmt: skip


def _start(given: Input, step: Step, request: Request) -> State:
    """The state at an input."""
    if isinstance(given, Kernel):
        state = state_of_kernel(given, step)
    else:
        state = input_state(*given, step)
    ntk = state.cross.ntk if request.ntk else None
    return dataclasses.replace(state, cross=dataclasses.replace(state.cross, ntk=ntk))


def _rows(pairs: Pairs | None, held: Diagonals | None, wanted: Diagonals | None) -> Pairs | None:
    """The wanted ones of the diagonals held."""
    if pairs is None or held is None or wanted is None:
        return None

    def take(array: Array) -> Array:
        for axis, rows in enumerate(wanted.rows):
            array = take_rows(array, axis, held.rows[axis], rows)
        return array

    return pairs.map(take)


def _select(state: State, plan: Plan, index: int, consumer: int, step: Step) -> State:
    """What one consumer needs of a state: its diagonals, as distances or as covariances."""
    held = plan.held[index]
    cross = _rows(state.cross, held.cross, step.given)
    assert cross is not None
    own = (_rows(pairs, held.own, step.given_self) for pairs in (state.self1, state.self2))
    state = State(state.var1, state.var2, *own, cross)
    operation = plan.nodes[consumer].operation
    keep = step.in_distances or (operation is not None and operation.needs_distance)
    if keep or not held.in_distances:
        return state
    return as_covariances(state, step.given, step.given_self)


def as_covariances(state: State, cross: Diagonals, own: Diagonals | None) -> State:
    """The same state, with covariances in place of distances and variances."""

    def of_images(pairs: Pairs | None, var: Array | None) -> Pairs | None:
        if pairs is None or own is None:
            return None
        return View(own, var, var).as_covariance(pairs)

    return State(
        None,
        None,
        of_images(state.self1, state.var1),
        of_images(state.self2, state.var2),
        views(state, cross).as_covariance(state.cross),
    )


def _finish(state: State, plan: Plan, index: int, request: Request) -> Kernel:
    """The kernel of an output, in the layout that users see."""
    held, signal = plan.held[index], plan.nodes[index].signal
    if not (request.diagonal_spatial and signal.sizes):
        return kernel_of_state(state, signal, held.cross, plan.symmetric)
    if held.in_distances:
        state = as_covariances(state, held.cross, held.own)
    zero = tuple(rows.index(0) for rows in held.cross.rows)
    own_zero = tuple(rows.index(0) for rows in held.own.rows) if held.own else ()
    crop = tuple(slice(size) for size in signal.sizes)

    def equal_positions(array: Array | None, row: tuple[int, ...]) -> Array | None:
        if array is None:
            return None
        image = array[row][crop]
        ndim = len(crop)
        return image.transpose(*range(ndim, image.ndim), *range(ndim))

    def own(pairs: Pairs | None) -> Array | None:
        return None if pairs is None else equal_positions(pairs.covariance, own_zero)

    return Kernel.of_signal(
        signal,
        diagonal_spatial=True,
        nngp=equal_positions(state.cross.covariance, zero),
        ntk=equal_positions(state.cross.ntk, zero),
        cov1=own(state.self1),
        cov2=None if plan.symmetric else own(state.self2),
        x1_is_x2=jnp.asarray(plan.symmetric),
    )
