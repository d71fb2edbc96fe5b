"""Outputs of one network during training on any loss, by its kernel."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._inference.arguments import check_not_negative, increasing_times, targets_array
from ntkjax._inference.course import Course
from ntkjax._inference.descent import Descent
from ntkjax._inference.layout import Layout, layout_of
from ntkjax._inference.ode_state import ODEState
from ntkjax._inference.start import Start, outputs_array, start_of_training
from ntkjax._inference.training_kernel import TrainingKernel
from ntkjax._jax_compat import is_concrete
from ntkjax._kernel.arrays import describe
from ntkjax._kernel.devices import on_one_device
from ntkjax._solve.regularizer import UNREGULARIZED


def gradient_descent(
    loss: Callable[[Any, Any], Any],
    k_train_train: Any,
    y_train: Any,
    learning_rate: float = 1.0,
    momentum: float | None = None,
    trace_axes: int | Sequence[int] = (-1,),
) -> Callable[..., Any]:
    r"""Outputs at time `t` of a network that is trained by gradient descent on any loss.

    With :math:`\Theta` the kernel of the training points and :math:`\Theta_*` that of test with
    training points, outputs follow

    .. math::
        \dot f = -\eta\, \Theta\, \nabla L(f), \qquad \dot f_* = -\eta\, \Theta_*\, \nabla L(f),

    and with momentum :math:`\mu`, the limit of small steps of the heavy-ball method,

    .. math::
        \ddot f = -\Theta\, \nabla L(f) - \frac{1 - \mu}{\sqrt\eta}\, \dot f

    in the time :math:`\sqrt\eta\, t`. The solver, of the package `diffrax`, is an explicit one of
    order 8 for times over which no mode decays many times, and else an implicit one of order 5 for
    stiff problems. That one factors a matrix as large as the state, so it takes states of at most
    4,000 numbers: outputs on the training points and, with momentum, as many velocities. Larger
    problems take explicit steps, and raise where they are too stiff. The eigendecomposition of the
    kernel is computed on first use and kept. For the squared error, `gradient_descent_mse` needs no
    solver.

    Args:
      loss: `loss(f(x_train), y_train)`, a number. It treats points and outputs alike.
      k_train_train: kernel of the training points: an array, of the shape of `y_train` with each
        axis that is not in `trace_axes` twice, as a rule `(n_train, n_train)`; or an object with
        an `ntk`, such as a `Kernel`.
      y_train: targets, as a rule `(n_train, n_outputs)`. Integers are converted to float.
      learning_rate: :math:`\eta`, at least 0.
      momentum: :math:`\mu`, from 0 to 1; None for gradient descent alone.
      trace_axes: axes of `y_train` that the kernel lacks, being the identity along them.

    Returns:
      `predict_fn(t=None, fx_train_or_state_0=0., fx_test_0=None, k_test_train=None)`. `t` is a
      time, an array of increasing times of any shape, whose axes come first in the answer, or None
      or infinity for the state in which nothing moves any more. The outputs at time 0 are arrays or
      numbers. It returns the outputs on the training points; with `fx_test_0`, which needs
      `k_test_train`, `(fx_train_t, fx_test_t)`; with `fx_train_or_state_0=None` those on the test
      points alone, of a network whose outputs on the training points are 0 at first. In the place
      of both outputs it takes an `ODEState`, and then returns one.

    Raises:
      ImportError: `diffrax` is not installed.
      ValueError: a shape does not fit `y_train`; an array is empty or not finite; `learning_rate`
        or a time is negative; times decrease; `momentum` is not in its range; `fx_test_0` comes
        without `k_test_train`, or nothing is asked for; the training kernel has a negative
        eigenvalue; the loss is no number, or its gradient at the start is not finite.
      RuntimeError: the solver takes too many steps, or there is no steady state. Inside a caller's
        `jit`, what is traced has no values to look at, and the outputs are then NaN.
      TypeError: an argument is not real, or `loss` cannot be called.

    Source: Lee et al. 2019, arXiv 1902.06720, section 2.2 and supplement; Qian 1999, "On the
    momentum term in gradient descent learning algorithms".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> def cross_entropy(fx, y):
      ...     return -jnp.mean(jax.nn.log_softmax(fx) * y)
      >>> kernel, y = jnp.array([[2.0, 1.0], [1.0, 3.0]]), jnp.eye(2)
      >>> predict_fn = gradient_descent(cross_entropy, kernel, y, learning_rate=0.5)
      >>> train, test = predict_fn(jnp.array([0.0, 10.0]), 0.0, 0.0, jnp.array([[1.0, 0.0]]))
      >>> train.shape, test.shape
      ((2, 2, 2), (2, 1, 2))
      >>> print(jax.nn.softmax(train[1]).round(2))
      [[0.74 0.26]
       [0.2  0.8 ]]
    """
    require_solver()
    if not callable(loss):
        raise TypeError(
            f"loss must be callable, got {describe(loss)}: pass a function of outputs and targets, "
            "such as lambda fx, y: 0.5 * jnp.mean((fx - y) ** 2)"
        )
    k_train_train, y = on_one_device(k_train_train, targets_array(y_train))
    check_not_negative(learning_rate, "learning_rate")
    if momentum is not None:
        check_not_negative(momentum, "momentum")
        if is_concrete(momentum) and momentum > 1:
            raise ValueError(f"momentum must be at most 1, got {momentum}: pass 0.9, say, or None")
    layout = layout_of(y, trace_axes)
    training = TrainingKernel(lambda _: k_train_train, "k_train_train", layout, UNREGULARIZED)

    def predict_fn(
        t: Any = None,
        fx_train_or_state_0: Any = 0.0,
        fx_test_0: Any = None,
        k_test_train: Any = None,
    ) -> Any:
        given = t, fx_train_or_state_0, fx_test_0, k_test_train
        home = k_train_train, y
        _, t, fx_train_or_state_0, fx_test_0, k_test_train = on_one_device(home, *given)
        is_state = isinstance(fx_train_or_state_0, ODEState)
        if is_state and fx_test_0 is not None:
            raise ValueError(
                "fx_test_0 comes beside an ODEState, which has a place for it: pass "
                "ODEState(fx_train_0, fx_test_0) alone"
            )
        state = fx_train_or_state_0 if is_state else ODEState(fx_train_or_state_0, fx_test_0)
        names = _STATE_NAMES if is_state else ("fx_train_or_state_0", "fx_test_0")
        start = start_of_training(layout, state.fx_train, state.fx_test, k_test_train, names)
        velocity = _velocity(layout, state, start, momentum)
        with jax.ensure_compile_time_eval():  # known within a program of the caller's, too
            times = jnp.asarray(jnp.inf) if t is None else increasing_times(t)
        matrix = training.matrices(("ntk",))["ntk"]
        modes = training.modes("ntk", matrix, False)
        course = Course(
            Descent(loss, layout, momentum is not None),
            y,
            modes,
            start,
            velocity,
            learning_rate,
            momentum,
        )
        made = course.states(times)
        return made if is_state else start.answer(made.fx_train, made.fx_test)

    return predict_fn


_STATE_NAMES = ("fx_train_or_state_0.fx_train", "fx_train_or_state_0.fx_test")


def require_solver() -> None:
    """Raises where the package of the solver is missing."""
    try:
        import diffrax  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "gradient_descent integrates in time with the package diffrax, which is not installed: "
            "run pip install 'ntkjax[ode]', or pip install diffrax; for the squared error, "
            "gradient_descent_mse needs no solver"
        ) from error


def _velocity(
    layout: Layout, state: ODEState, start: Start, momentum: Any
) -> tuple[Array | None, Array | None]:
    """The velocities at time 0 of outputs on training and on test points; None for 0."""
    given = (state.qx_train, state.qx_test)
    if momentum is None and any(q is not None for q in given):
        raise ValueError(
            "fx_train_or_state_0 holds velocities, qx_train or qx_test, but momentum is None: pass "
            "a momentum to gradient_descent, or ODEState(fx_train, fx_test) alone"
        )
    if state.qx_test is not None and start.cross is None:
        raise ValueError(
            "fx_train_or_state_0 holds qx_test without fx_test: pass the outputs on test points too"
        )
    train = test = None
    if state.qx_train is not None:
        train = outputs_array("fx_train_or_state_0.qx_train", state.qx_train, layout.shape)
    if state.qx_test is not None and start.cross is not None:
        shape = layout.output_shape(start.cross[1])
        test = outputs_array("fx_train_or_state_0.qx_test", state.qx_test, shape)
    return train, test
