r"""When to stop training on noisy targets, read off the spectrum.

Training leaves the share :math:`d_i` of mode i and has learned the rest. With outputs 0 at the
start and noise of variance :math:`\sigma^2` on n targets, the mean squared error of the outputs
against the function without its noise, at the training points, is estimated without bias by

.. math::
    R = \sum_i d_i^2 v_i^2 + \sigma^2 \left(\frac2n \sum_i (1 - d_i) - 1\right),

with :math:`v_i^2` the power of the noisy targets in mode i: the error that is left, and what of the
noise has been learned. This is Mallows' :math:`C_p` of the smoother that training is so far.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntkjax._inference.clock import FlowClock, StepClock
from ntkjax._inference.dynamics import Dynamics
from ntkjax._inference.flow import Flow
from ntkjax._jax_compat import double_precision
from ntkjax._kernel.arrays import describe
from ntkjax._spectrum.arguments import targets_matrix, variance
from ntkjax._spectrum.spectrum import Spectrum

#: Times to a decade of the grid on which the smallest risk is sought, and points of each zoom.
_DENSITY, _ZOOM = 24, 33
#: From so many decays of the fastest mode to so many of the slowest that counts.
_BEGIN, _END = 1e-3, 40.0


class Stopping(NamedTuple):
    """When to stop training, and the risk over time.

    Args:
      when: the time or the number of steps of the smallest risk, to pass on to `predict_fn`;
        infinite where training to the end is best.
      risk: the risk then: the mean squared error at the training points against the function
        without its noise. It is an estimate, so that it may be negative where it is close to 0.
      risk_at_start: that of outputs 0.
      risk_at_end: that of training to the end.
      times: the times or steps of the search, increasing, infinity the last, `(k,)`.
      risks: the risks then, `(k,)`, for a plot.

    Example:
      >>> import numpy as np
      >>> from ntkjax.spectrum import Spectrum, stopping_time
      >>> stop = stopping_time(Spectrum(np.diag([4.0, 0.1])), [2.0, 0.1], noise=0.1)
      >>> stop.risk < min(stop.risk_at_start, stop.risk_at_end)
      True
    """

    when: float
    risk: float
    risk_at_start: float
    risk_at_end: float
    times: np.ndarray
    risks: np.ndarray


def stopping_time(
    spectrum: Spectrum, targets: Any, noise: float, learning_rate: float = 1.0
) -> Stopping:
    r"""The time at which gradient flow has the smallest predicted risk.

    In the time of `predict.gradient_descent_mse`, :math:`s = \eta t / N` with N entries of the
    targets, mode i of eigenvalue :math:`\mu_i` of K keeps the share
    :math:`d_i = e^{-s \mu_i}` of its error. Of n targets with noise of variance :math:`\sigma^2`,
    from outputs 0, the risk at the training points is

    .. math::
        R(t) = \sum_i d_i^2 v_i^2 + \sigma^2 \left(\frac2n \sum_i (1 - d_i) - 1\right),

    an unbiased estimate of the mean squared error against the function without its noise.

    Args:
      spectrum: the `Spectrum` of the kernel that trains, as a rule the NTK of the training points.
      targets: with their noise, `(n,)` or `(n, n_outputs)`; where outputs at the start are not 0,
        the targets less these.
      noise: the variance :math:`\sigma^2` of the noise on each entry of the targets, at least 0.
      learning_rate: :math:`\eta` of the flow, above 0.

    Returns:
      A `Stopping`: the time, its risk, those of the start and the end, and the curve between them.

    Raises:
      ValueError: shapes do not fit; `noise` is negative; `learning_rate` is not above 0.
      TypeError: `spectrum` is no `Spectrum`, or an argument is not real.

    Source: Mallows 1973, "Some comments on Cp"; Yao, Rosasco, Caponnetto 2007, "On early stopping
    in gradient descent learning".

    Example:
      >>> import numpy as np
      >>> from ntkjax.spectrum import Spectrum
      >>> x = np.linspace(-1, 1, 50)
      >>> spectrum = Spectrum(np.exp(-5 * (x[:, None] - x[None, :]) ** 2))
      >>> y = np.sin(3 * x) + 0.3 * np.random.default_rng(0).normal(size=50)
      >>> stop = stopping_time(spectrum, y, noise=0.09)
      >>> stop.risk < 0.2 * stop.risk_at_end
      True
    """
    matrix = _targets(spectrum, targets)
    clock = FlowClock(learning_rate, matrix.size)
    if not learning_rate > 0:
        raise ValueError(f"learning_rate must be above 0, got {learning_rate}: pass 1., say")
    unit = matrix.size / float(learning_rate)
    values = len(spectrum) * spectrum.eigenvalues

    def risks(times: np.ndarray) -> np.ndarray:
        with double_precision():
            return _risks(Flow(), clock.timing(times).times, spectrum, matrix, variance(noise))

    return _stopping(risks, _grid(values, unit), whole=False)


def stopping_steps(
    spectrum: Spectrum, targets: Any, noise: float, learning_rate: float, momentum: float = 0.0
) -> Stopping:
    r"""The number of steps at which gradient descent has the smallest predicted risk.

    As `stopping_time`, for whole steps of `predict.gradient_descent_mse_steps`: without momentum
    mode i keeps the share :math:`d_i = (1 - \eta \mu_i / N)^t` of its error.

    Args:
      spectrum: the `Spectrum` of the kernel that trains, as a rule the NTK of the training points.
      targets: with their noise, `(n,)` or `(n, n_outputs)`; where outputs at the start are not 0,
        the targets less these.
      noise: the variance of the noise on each entry of the targets, at least 0.
      learning_rate: :math:`\eta`, above 0 and below the largest that converges.
      momentum: of the heavy-ball method, at least 0 and below 1.

    Returns:
      A `Stopping`: the number of steps, its risk, those of the start and the end, and the curve
      between them. Oscillations that momentum makes are seen up to the density of its `times`.

    Raises:
      ValueError: the learning rate diverges (the message says the largest that does not); shapes do
        not fit; `noise` is negative, or `momentum` not in its range.
      TypeError: `spectrum` is no `Spectrum`, or an argument is not real.

    Source: Mallows 1973, "Some comments on Cp"; Yao, Rosasco, Caponnetto 2007, "On early stopping
    in gradient descent learning".

    Example:
      >>> import numpy as np
      >>> from ntkjax.spectrum import Spectrum
      >>> x = np.linspace(-1, 1, 50)
      >>> spectrum = Spectrum(np.exp(-5 * (x[:, None] - x[None, :]) ** 2))
      >>> y = np.sin(3 * x) + 0.3 * np.random.default_rng(0).normal(size=50)
      >>> slow = stopping_steps(spectrum, y, noise=0.09, learning_rate=0.1)
      >>> fast = stopping_steps(spectrum, y, noise=0.09, learning_rate=0.1, momentum=0.9)
      >>> bool(fast.when < slow.when / 5)
      True
    """
    matrix = _targets(spectrum, targets)
    clock = StepClock(learning_rate, momentum, matrix.size)
    # In float64, whatever the numbers come in.
    clock = dataclasses.replace(clock, learning_rate=float(learning_rate), momentum=float(momentum))
    values = len(spectrum) * spectrum.eigenvalues
    clock.check(values, "the kernel of spectrum")
    unit = matrix.size * (1 - float(momentum)) / float(learning_rate)

    def risks(steps: np.ndarray) -> np.ndarray:
        with double_precision():
            dynamics = clock.dynamics()
            return _risks(dynamics, jnp.asarray(steps), spectrum, matrix, variance(noise))

    grid = np.unique(np.round(_grid(values, unit)))
    early = np.arange(min(256.0, grid[-1] + 1))
    return _stopping(risks, np.unique(np.concatenate([early, grid])), whole=True)


def _targets(spectrum: Any, targets: Any) -> np.ndarray:
    if not isinstance(spectrum, Spectrum):
        raise TypeError(
            f"spectrum is {describe(spectrum)}, expected a Spectrum: pass "
            "ntkjax.spectrum.Spectrum(kernel)"
        )
    return targets_matrix(targets, len(spectrum))


def _grid(values: np.ndarray, unit: float) -> np.ndarray:
    """Times from 0 to the end of training, evenly spaced on a logarithmic axis."""
    largest = float(values[0])
    if largest == 0:
        return np.zeros(1)
    slowest = max(float(values[values > 0].min()), np.finfo(float).eps * largest)
    begin, end = np.log10(_BEGIN * unit / largest), np.log10(_END * unit / slowest)
    return np.concatenate([[0.0], np.logspace(begin, end, int(_DENSITY * (end - begin)) + 2)])


def _risks(
    dynamics: Dynamics, times: Any, spectrum: Spectrum, targets: np.ndarray, noise: float
) -> np.ndarray:
    learned = np.asarray(_learned(dynamics, len(spectrum) * spectrum.eigenvalues, times))
    left = (1 - learned) ** 2 @ spectrum.power(targets)
    return left + noise * (2 * np.mean(learned, axis=1) - 1)


@jax.jit
def _learned(dynamics: Dynamics, values: Any, times: Any) -> jax.Array:
    """What each mode has learned, `(times, modes)`."""
    return jax.vmap(dynamics.learned, (None, 0))(values, times)


def _stopping(risks: Callable[[np.ndarray], np.ndarray], grid: np.ndarray, whole: bool) -> Stopping:
    """The smallest risk of a grid, between whose points it is then sought."""
    times = np.append(grid, np.inf)
    curve = risks(times)
    best = int(np.argmin(curve[:-1]))
    scale = float(np.max(np.abs(curve)))
    if curve[-1] <= curve[best] + 1e-12 * scale:
        return Stopping(np.inf, float(curve[-1]), float(curve[0]), float(curve[-1]), times, curve)
    when, risk = float(grid[best]), float(curve[best])
    low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)])
    for _ in range(8):
        near = np.linspace(low, high, _ZOOM)
        near = np.pad(np.unique(np.round(near)), (0, _ZOOM), "edge")[:_ZOOM] if whole else near
        found = risks(near)
        at = int(np.argmin(found))
        if found[at] < risk:
            when, risk = float(near[at]), float(found[at])
        step = (high - low) / (_ZOOM - 1)
        if high - low <= (_ZOOM - 1 if whole else 1e-9 * high):
            break
        low, high = max(when - step, 0.0), when + step
    when = int(when) if whole else when
    return Stopping(when, risk, float(curve[0]), float(curve[-1]), times, curve)
