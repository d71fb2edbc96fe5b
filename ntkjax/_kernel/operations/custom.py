"""A user's own `kernel_fn(kernel) -> kernel`, and the way between kernels and states."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._kernel.diagonals import Diagonals, Rows, from_matrix, to_matrix
from ntkjax._kernel.kernel import Kernel
from ntkjax._kernel.operation import LayerError, Operation, Step, operation, static, views
from ntkjax._kernel.signal import Signal
from ntkjax._kernel.state import Pairs, State, View


@operation
class Custom(Operation):
    """Call a function of a full `Kernel`: all pairs of positions are stored for it."""

    kernel_fn: Callable[[Kernel], Kernel] = static()

    mixes_diagonals = True
    keeps_axes = False
    needs_self = True

    def infer(self, signals: tuple[Signal, ...], source: str) -> Signal:
        if len(signals) != 1:
            raise LayerError(f"a user's layer takes one input, but {len(signals)} came.")
        out = jax.eval_shape(lambda: _checked(self.kernel_fn(_example(signals[0]))))
        return Signal(
            out.shape1,
            out.shape2,
            out.batch_axis,
            out.channel_axis,
            out.is_gaussian,
            frozenset({source}) if out.is_gaussian else signals[0].sources,
        )

    def demand(self, wanted: Diagonals, given: Diagonals) -> Rows:
        return given.all().rows

    def apply(self, states: tuple[State, ...], step: Step) -> State:
        (state,) = states
        kernel = self.kernel_fn(kernel_of_state(state, step.signals[0], step.given, step.symmetric))
        return state_of_kernel(_checked(kernel), step)


def _example(signal: Signal) -> Kernel:
    """A kernel of the right shapes, to see what a user's function makes of it."""
    n1, n2 = signal.shape1[signal.batch_axis], signal.shape2[signal.batch_axis]
    positions = tuple(size for size in signal.sizes for _ in range(2))
    return Kernel.of_signal(
        signal,
        nngp=jnp.zeros((n1, n2, *positions)),
        ntk=jnp.zeros((n1, n2, *positions)),
        cov1=jnp.zeros((n1, *positions)),
        cov2=jnp.zeros((n2, *positions)),
        x1_is_x2=jnp.zeros((), bool),
    )


def _checked(kernel: Kernel) -> Kernel:
    """Refuse what is no kernel."""
    if not isinstance(kernel, Kernel):
        raise LayerError(
            f"the user's kernel_fn returned {type(kernel).__name__}, not a Kernel; return "
            "`kernel.replace(...)` of the kernel that it was given."
        )
    return kernel


def kernel_of_state(state: State, signal: Signal, diagonals: Diagonals, symmetric: bool) -> Kernel:
    """The kernel that users see, from a state which holds all diagonals of all pairings."""

    def matrix(array: Array | None) -> Array | None:
        return None if array is None else to_matrix(array, diagonals)

    def of_images(pairs: Pairs | None, var: Array | None) -> Array | None:
        if pairs is None:
            return None
        return matrix(View(diagonals, var, var).covariance(pairs))

    cross = views(state, diagonals).as_covariance(state.cross)
    distance = matrix(state.cross.distance)
    return Kernel.of_signal(
        signal,
        nngp=matrix(cross.covariance),
        ntk=matrix(cross.ntk),
        cov1=of_images(state.self1, state.var1),
        cov2=None if symmetric else of_images(state.self2, state.var2),
        x1_is_x2=jnp.asarray(symmetric),
        distance=distance,
    )


def state_of_kernel(kernel: Kernel, step: Step) -> State:
    """The state at an input, or after a user's layer, on the wanted diagonals."""

    def check(array: Array | None, lanes: tuple[int, ...], name: str) -> Array:
        positions = tuple(size for size in step.wanted.sizes for _ in range(2))
        if array is None or array.shape != (*lanes, *positions):
            came = "None" if array is None else f"shape {array.shape}"
            raise LayerError(
                f"kernel.{name} must have shape {(*lanes, *positions)}, interleaved over all pairs "
                f"of positions, but {came} came; compute the kernel with get=None and without "
                "diagonal_spatial=True."
            )
        return array

    signal = step.signal
    n1, n2 = signal.shape1[signal.batch_axis], signal.shape2[signal.batch_axis]
    nngp = check(kernel.nngp, (n1, n2), "nngp")
    rows = from_matrix(nngp, step.wanted)
    ntk = None
    if kernel.ntk is not None:
        ntk = from_matrix(check(kernel.ntk, (n1, n2), "ntk"), step.wanted)
    covs = [None, None]
    if step.in_distances or step.wanted_self is not None:
        cov1 = check(kernel.cov1, (n1,), "cov1")
        cov2 = cov1 if step.symmetric else check(kernel.cov2, (n2,), "cov2")
        covs = [cov1, cov2]

    def variances(cov: Array) -> Array:
        return from_matrix(cov, step.wanted.zero())[(0,) * step.wanted.ndim]

    def on_self(cov: Array | None, var: Array | None) -> Pairs | None:
        if step.wanted_self is None or cov is None:
            return None
        covariance = from_matrix(cov, step.wanted_self)
        if not step.in_distances:
            return Pairs(covariance=covariance)
        return Pairs(distance=View(step.wanted_self, var, var).as_distance(covariance))

    if not step.in_distances:
        selfs = [on_self(cov, None) for cov in covs]
        return State(None, None, *selfs, Pairs(covariance=rows, ntk=ntk))
    vars_ = [variances(cov) for cov in covs]
    selfs = [on_self(cov, var) for cov, var in zip(covs, vars_)]
    if kernel.distance is not None:
        distance = from_matrix(check(kernel.distance, (n1, n2), "distance"), step.wanted)
    else:
        half = State(*vars_, None, None, Pairs(covariance=rows))
        distance = views(half, step.wanted).as_distance(rows)
        if step.symmetric and not step.wanted.ndim:
            distance = distance * (1 - jnp.eye(n1, dtype=distance.dtype))
    return State(*vars_, *selfs, Pairs(distance=distance, ntk=ntk))
