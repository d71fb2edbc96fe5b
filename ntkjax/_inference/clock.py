"""In what a user counts the time of training on the squared error, and what training then is."""

import dataclasses
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._inference.arguments import (
    check_not_negative,
    common_dtype,
    scaled_times,
    steps_array,
    times_array,
)
from ntkjax._inference.dynamics import Dynamics
from ntkjax._inference.flow import Flow
from ntkjax._inference.heavy_ball import HeavyBall
from ntkjax._inference.modes import Modes
from ntkjax._inference.steps import Steps
from ntkjax._inference.training_kernel import TrainingKernel
from ntkjax._jax_compat import is_concrete


class Clock(Protocol):
    """What is known of training besides its kernel and its targets."""

    def timing(self, time: Any) -> "Timing":
        """What a user passes as time, checked."""
        ...

    def check(self, values: Array | np.ndarray, name: str) -> None:
        """Raises where training diverges on a kernel, called `name`, of these eigenvalues."""
        ...

    def check_end(self, training: TrainingKernel, kind: str) -> None:
        """Raises where training without end diverges."""
        ...


class Timing(NamedTuple):
    """Times of any shape in the units of some dynamics; `forever` where some are infinite."""

    clock: Clock
    dynamics: Dynamics
    times: Array
    forever: bool

    def of(self, training: TrainingKernel, kind: str, matrix: Array, y: Array) -> "Training":
        """Training on the matrix of a kind; raises where it diverges, or never settles."""
        found = training.modes(kind, matrix, self.forever)
        self.clock.check(found.values, training.label(kind))
        dtype = common_dtype(y, found.values)
        modes, dynamics = jax.tree.map(lambda a: a.astype(dtype), (found, self.dynamics))
        return Training(modes, dynamics, self.times.astype(dtype))


class Training(NamedTuple):
    """Modes, what happens to each of them, and the times asked for, all in one dtype."""

    modes: Modes
    dynamics: Dynamics
    times: Array

    @property
    def dtype(self) -> Any:
        """That of the prediction."""
        return self.times.dtype


@dataclasses.dataclass(frozen=True)
class FlowClock:
    """Time of gradient flow, on a mean over so many entries of the targets."""

    learning_rate: Any
    size: int

    def __post_init__(self) -> None:
        check_not_negative(self.learning_rate, "learning_rate")

    def timing(self, time: Any) -> Timing:
        return Timing(self, Flow(), *scaled_times(times_array(time), self.learning_rate, self.size))

    def check(self, values: Array | np.ndarray, name: str) -> None:
        """Gradient flow never diverges."""

    def check_end(self, training: TrainingKernel, kind: str) -> None:
        """Nor does it without end."""


@dataclasses.dataclass(frozen=True)
class StepClock:
    """Steps of gradient descent, on a mean over so many entries of the targets."""

    learning_rate: Any
    momentum: Any
    size: int

    def __post_init__(self) -> None:
        check_not_negative(self.learning_rate, "learning_rate")
        check_not_negative(self.momentum, "momentum")
        if is_concrete(self.learning_rate) and self.learning_rate == 0:
            raise ValueError(
                "learning_rate must be above 0, got 0, with which no step moves: pass a fraction of"
                " predict.max_learning_rate(k_train_train, y_train.size)"
            )
        if is_concrete(self.momentum) and not self.momentum < 1:
            raise ValueError(f"momentum must be below 1, got {self.momentum}: pass 0.9, say")

    def timing(self, time: Any) -> Timing:
        steps = steps_array(time)
        forever = is_concrete(steps) and bool(np.isinf(np.asarray(steps)).any())
        return Timing(self, self.dynamics(), steps, forever)

    def dynamics(self) -> Dynamics:
        """With and without momentum: without any, both roots of the recursion may be zero."""
        rate = jnp.asarray(self.learning_rate) / self.size
        if is_concrete(self.momentum) and self.momentum == 0:
            return Steps(rate)
        return HeavyBall(rate, jnp.asarray(self.momentum))

    def check_end(self, training: TrainingKernel, kind: str) -> None:
        modes = training.modes(kind, training.matrices((kind,))[kind], False)
        self.check(modes.values, training.label(kind))

    def check(self, values: Array | np.ndarray, name: str) -> None:
        if not is_concrete((values, self.learning_rate, self.momentum)):
            return
        largest = float(np.max(np.asarray(values)))
        rate, momentum = float(self.learning_rate), float(self.momentum)
        bound = 2 * (1 + momentum) * self.size / largest if largest > 0 else float("inf")
        if rate >= bound:
            with_momentum = f" with momentum={momentum:g}" if momentum else ""
            raise ValueError(
                f"learning_rate={rate:g}{with_momentum} diverges: the largest eigenvalue of {name},"
                f" {largest:.6g}, allows learning rates below {bound:.6g}: pass"
                f" learning_rate={_below(bound)}, say, a tenth less than this"
            )


def _below(bound: float) -> str:
    return f"{0.9 * bound:.3g}"
