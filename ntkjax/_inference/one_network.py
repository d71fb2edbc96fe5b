"""Outputs of one network during training on the squared error, by the modes of its kernel."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._inference.arguments import common_dtype, diagonal_regularizer
from ntkjax._inference.clock import Clock, Timing
from ntkjax._inference.dynamics import Dynamics
from ntkjax._inference.layout import layout_of
from ntkjax._inference.start import Start, start_of_training
from ntkjax._inference.training_kernel import TrainingKernel
from ntkjax._kernel.devices import on_one_device
from ntkjax._solve.symmetric import highest


class OneNetwork:
    """A network, given by its training kernel, whose training some clock counts.

    The arguments are those of `gradient_descent_mse`, its `y_train` as `targets_array` returns it.
    """

    def __init__(
        self,
        k_train_train: Any,
        y: Array,
        clock: Clock,
        diag_reg: float,
        diag_reg_absolute_scale: bool,
        trace_axes: int | Sequence[int],
    ) -> None:
        regularizer = diagonal_regularizer(diag_reg, diag_reg_absolute_scale)
        k_train_train, y = on_one_device(k_train_train, y)
        self._home = k_train_train, y
        self.y, self.clock = y, clock
        self.layout = layout_of(y, trace_axes)
        self.training = TrainingKernel(
            lambda kinds: k_train_train,
            "k_train_train",
            self.layout,
            regularizer,
        )

    def outputs(self, time: Any, fx_train_0: Any, fx_test_0: Any, k_test_train: Any) -> Any:
        """What `predict_fn` of `gradient_descent_mse` returns; time None is the end of training."""
        given = time, fx_train_0, fx_test_0, k_test_train
        _, time, fx_train_0, fx_test_0, k_test_train = on_one_device(self._home, *given)
        start = start_of_training(self.layout, fx_train_0, fx_test_0, k_test_train)
        if time is not None:
            return self._during(start, self.clock.timing(time))
        self.clock.check_end(self.training, "ntk")
        return self._at_the_end(start)

    def _difference(self, start: Start, dtype: Any) -> Array:
        """Y - f_train(0), as a matrix."""
        targets = self.y.astype(dtype)
        if start.train is not None:
            targets = targets - jnp.broadcast_to(start.train.astype(dtype), self.y.shape)
        return self.layout.target_matrix(targets)

    def _at_the_end(self, start: Start) -> Any:
        matrix = self.training.matrices(("ntk",))["ntk"]
        dtype = common_dtype(self.y, matrix)
        if start.test is None or start.cross is None:
            return self.y.astype(dtype)
        cross, rows = start.cross
        weights = self.training.weights("ntk", matrix, self._difference(start, dtype))
        change = self.layout.outputs(highest(cross.astype(dtype), weights), rows)
        return start.answer(self.y.astype(dtype), _raised(start.test, change))

    def _during(self, start: Start, timing: Timing) -> Any:
        """The outputs at times that may be infinite."""
        matrix, layout = self.training.matrices(("ntk",))["ntk"], self.layout
        training = timing.of(self.training, "ntk", matrix, self.y)
        (values, vectors), dynamics, times = training
        dtype = training.dtype
        difference = highest(vectors.T, self._difference(start, dtype))

        train = test = None
        if start.train is not None:
            left = _at_each("decay", times, dynamics, values, difference, vectors)
            left = layout.outputs(left, layout.row_shape)
            train = self.y.astype(dtype).reshape((1,) * times.ndim + self.y.shape) - left
        if start.test is not None and start.cross is not None:
            cross, rows = start.cross
            basis = highest(cross.astype(dtype), vectors)
            change = _at_each("response", times, dynamics, values, difference, basis)
            test = _raised(start.test, layout.outputs(change, rows))
        return start.answer(train, test)


@partial(jax.jit, static_argnums=0)
def _at_each(
    share: str, times: Array, dynamics: Dynamics, values: Array, difference: Array, basis: Array
) -> Array:
    """The modes of y - f_train(0) times a share of them at every time, in another basis."""

    def at(time: Array) -> Array:
        return highest(basis, getattr(dynamics, share)(values, time)[:, None] * difference)

    made = jax.vmap(at)(times.reshape(-1))
    return made.reshape(*times.shape, *made.shape[1:])


def _raised(start: Array, change: Array) -> Array:
    """The outputs at time 0 plus a change that may have axes of times in front."""
    lead = (1,) * (change.ndim - start.ndim) if start.ndim else ()
    return start.astype(change.dtype).reshape(*lead, *start.shape) + change
