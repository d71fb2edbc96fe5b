"""`GaussianProcess`: regression with the kernel of a network, and what it is sure of."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntkjax._gp import storage
from ntkjax._gp.arguments import (
    NOISE,
    NOISE_FACTOR,
    check_bounds,
    check_flag,
    count_of,
    function_of,
    like_seen,
    mean_at,
    mean_of,
    noise_variance,
    one_kernel,
    parameters,
    points,
    seed_of,
    targets,
)
from ntkjax._gp.covariance import Covariance, covariance_of
from ntkjax._gp.fit import best_parameters, search_of
from ntkjax._gp.likelihood import likelihood_at, likelihood_of, noisy_covariance, numbers_of
from ntkjax._gp.losses import OBJECTIVES, left_out
from ntkjax._gp.prediction import Prediction
from ntkjax._gp.state import State, extended, fitted, gaussian_draws
from ntkjax._inference.gaussian import Gaussian
from ntkjax._solve.report import SolveReport


@dataclasses.dataclass(frozen=True, eq=False)
class GaussianProcess:
    r"""A Gaussian process whose covariance is the kernel of an infinitely wide network.

    .. math::
        y = m(x) + f(x) + \epsilon, \quad f \sim \mathcal{GP}(0, K_\theta), \quad
        \epsilon \sim \mathcal{N}(0, \mathrm{noise}),

    so that with A = K(x, x) + noise and * the test points the posterior has the mean
    :math:`m_* + K_* A^{-1} (y - m)` and the covariance :math:`K_{**} - K_* A^{-1} K_*^T`. A process
    never changes: `fit`, `update` and `optimize` return new ones.

    Args:
      network: a triple `(init_fn, apply_fn, kernel_fn)` or a `kernel_fn(x1, x2, get)`; with
        `params`, a function of them that returns either.
      noise: the variance of the observation noise, in the units of the targets (of standardised
        ones with `standardize_y`): a number, or `(n,)` for each of the training points.
      mean: the prior mean m, a number or a function of points `(n, ...)` that returns `(n,)` or
        `(n, n_outputs)`.
      params: numbers by name that `network` takes, such as `{"W_std": 1.5, "b_std": 0.1}`: where
        `optimize` starts.
      bounds: `(lowest, highest)` by name, of parameters and of "noise" (of noise point by point,
        of "noise_factor", which starts at 1), for `optimize`. Positive bounds are searched by
        logarithms. None for a hundredth of the start and a hundred times it.
      get: which kernel is the covariance, "nngp" or "ntk".
      standardize_x: whether to shift and scale the channels (the last axis) of inputs to mean 0 and
        standard deviation 1 over the training points.
      standardize_y: the same for the targets, output by output.

    Returns:
      A process to `fit`.

    Raises:
      ValueError: noise is negative or not finite; a parameter or its bounds are no finite numbers;
        `get` is unknown.
      TypeError: `network` has no kernel.

    Source: Rasmussen and Williams 2006, *Gaussian processes for machine learning*, chapters 2 and
    5; Lee et al. 2018, arXiv 1711.00165.

    Example:
      >>> import numpy as np
      >>> from ntkjax import gp, stax
      >>> def network(W_std):
      ...     return stax.serial(stax.Dense(1, W_std, 0.5), stax.Erf(), stax.Dense(1))
      >>> x = np.linspace(-1, 1, 9)[:, None]
      >>> process = gp.GaussianProcess(network, noise=1e-3, params={"W_std": 3.0})
      >>> process = process.fit(x, np.sin(3 * x[:, 0]))
      >>> mean, variance = process.predict(np.array([[0.5], [5.0]]))
      >>> bool(abs(mean[0] - np.sin(1.5)) < 0.1), bool(variance[0] < variance[1])
      (True, True)
    """

    network: Any
    noise: Any = 0.0
    mean: Any = 0.0
    params: Mapping[str, Any] | None = None
    bounds: Mapping[str, Any] | None = None
    get: str = "nngp"
    standardize_x: bool = False
    standardize_y: bool = False
    #: The value of the objective of `optimize` after each step, one tuple for each start.
    history: tuple[tuple[float, ...], ...] = ()
    _state: State | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        noise_variance(self.noise)
        mean_of(self.mean)
        parameters(self.params)
        check_bounds(self.bounds)
        one_kernel(self.get)
        check_flag("standardize_x", self.standardize_x)
        check_flag("standardize_y", self.standardize_y)
        self._covariance()

    def fit(self, x: Any, y: Any) -> "GaussianProcess":
        """Learn from targets: factorize the covariance of the training points.

        Args:
          x: training inputs `(n, ...)`.
          y: targets, `(n,)` or `(n, n_outputs)`; outputs are independent and share the covariance.

        Returns:
          The fitted process, with the parameters as they are.

        Raises:
          NotPositiveDefiniteError: the covariance of the training points has an eigenvalue that is
            negative beyond rounding; the message says which noise would do.
          ValueError: shapes do not fit, or values are not finite.
        """
        inputs = points("x", x)
        outputs = targets("y", y, len(inputs))
        noise = noise_variance(self.noise, len(inputs))
        flags = self.standardize_x, self.standardize_y
        state = fitted(self._covariance(), inputs, outputs, noise, self.mean, *flags)
        return dataclasses.replace(self, _state=state)

    def update(self, x: Any, y: Any, noise: Any = None) -> "GaussianProcess":
        """Learn from further points, by a block of the factor: O(n²) for each, not O(n³).

        Args:
          x: new inputs `(m, ...)`.
          y: their targets, laid out as the ones before.
          noise: the variance of their noise, a number or `(m,)`; None for the same as before.

        Returns:
          The process that has seen all points. Parameters stay, and so do the scales of
          standardised inputs and targets.

        Raises:
          ValueError: shapes do not fit; the noise is given point by point and `noise` is None.
        """
        state = self._fitted("update")
        inputs = points("x", x)
        outputs = targets("y", y, len(inputs))
        before = state.shaped(state.y).shape
        if inputs.shape[1:] != state.x.shape[1:] or outputs.shape[1:] != before[1:]:
            raise ValueError(
                f"update: x and y have shapes {inputs.shape} and {outputs.shape}, and those before "
                f"{state.x.shape} and {before}: pass points of the same kind"
            )
        if noise is None and state.noise.ndim:
            raise ValueError(
                "update: noise is given point by point, so pass noise= for the new points too"
            )
        added = state.noise if noise is None else noise_variance(noise, len(inputs))
        columns = outputs.reshape(len(inputs), -1)
        state = extended(state, inputs, columns, added, self.mean)
        held = state.noise if state.noise.ndim else self.noise
        return dataclasses.replace(self, noise=held, _state=state)

    def predict(self, x: Any, covariance: bool = False, noisy: bool = False) -> Any:
        """The posterior at points.

        Args:
          x: inputs `(m, ...)`.
          covariance: whether to return the covariance between all of them.
          noisy: whether variances are those of new observations, noise included, rather than of the
            function.

        Returns:
          `Prediction(mean, variance)`, both of the shape `(m,)` or `(m, n_outputs)`; or
          `Gaussian(mean, covariance)`, the covariance `(m, m)` or `(m, m, n_outputs)`.

        Raises:
          ValueError: the process is not fitted; inputs do not fit; `noisy` where the noise is given
            for each training point.
        """
        state = self._fitted("predict")
        inputs = like_seen(points("x", x), state.x)
        scaled = state.scaled(inputs)
        check_flag("covariance", covariance)
        check_flag("noisy", noisy)
        if noisy and state.noise.ndim:
            raise ValueError(
                "predict: noisy=True, but noise is given for each training point: pass noisy=False "
                "and add the variance of the noise at the new points"
            )
        added = state.noise if noisy else jnp.zeros_like(state.noise)
        if covariance:
            mean, joint = state.posterior(scaled)
            joint = joint + added * jnp.eye(len(joint), dtype=joint.dtype) if noisy else joint
            joint = state.y_scaling.variance(joint[:, :, None])
            return Gaussian(
                state.shaped(state.back(inputs, mean, self.mean)),
                joint[:, :, 0] if state.is_vector else joint,
            )
        mean, variance = state.predicted(scaled)
        variance = state.y_scaling.variance((variance + added if noisy else variance)[:, None])
        mean = state.back(inputs, mean, self.mean)
        return Prediction(state.shaped(mean), state.shaped(variance))

    def sample(self, x: Any, count: int = 1, seed: int = 0, prior: bool = False) -> Array:
        """Functions drawn from the posterior, or from the prior, at points.

        Args:
          x: inputs `(m, ...)`.
          count: how many functions.
          seed: of the random numbers; equal seeds give equal functions.
          prior: whether to draw from the prior; a process that is not fitted always does.

        Returns:
          `(count, m)` or `(count, m, n_outputs)`, without noise.

        Raises:
          ValueError: inputs do not fit; `count` is no positive whole number.
        """
        number, inputs = count_of("count", count), points("x", x)
        key = jax.random.key(seed_of(seed))
        check_flag("prior", prior)
        state = self._state
        if state is None:
            joint = self._covariance().matrix(inputs)
            prior_mean = mean_at(self.mean, inputs, joint[:, :1])
            columns = prior_mean.shape[1]
            normal = jax.random.normal(key, (number, len(inputs), columns), joint.dtype)
            return (prior_mean[None] + gaussian_draws(joint, normal))[:, :, 0]
        scaled, columns = state.scaled(like_seen(inputs, state.x)), state.y.shape[1]
        if prior:
            joint = state.covariance.matrix(scaled).astype(state.weights.dtype)
            mean = jnp.zeros((len(inputs), columns), joint.dtype)
        else:
            mean, joint = state.posterior(scaled)
        normal = jax.random.normal(key, (number, len(inputs), columns), joint.dtype)
        offsets = state.back(inputs, mean, self.mean)
        draws = offsets[None] + state.y_scaling.spread(gaussian_draws(joint, normal))
        return draws[:, :, 0] if state.is_vector else draws

    def log_marginal_likelihood(self, params: Mapping[str, Any] | None = None) -> Array:
        r"""The log density of the training targets, :math:`\log p(y | x)`.

        Of several outputs it is the sum; of standardised targets, that of these.

        Args:
          params: other values of some of the parameters, "noise" among them, or "noise_factor",
            which the noise is multiplied by; None for those of the process. They may be traced: the
            value has derivatives.

        Returns:
          A scalar.

        Raises:
          ValueError: the process is not fitted; a name is unknown.
        """
        state = self._fitted("log_marginal_likelihood")
        if params is None:
            return likelihood_of(state)
        return likelihood_at(state, self.network, self.params, self.get, params)

    def leave_one_out(self) -> Prediction:
        """What the process says of each training target, given all others, in closed form.

        Returns:
          `Prediction(mean, variance)` of the noisy targets, of the shape of the targets.

        Raises:
          ValueError: the process is not fitted.

        Source: Rasmussen and Williams 2006, equations 5.10 to 5.12.
        """
        state = self._fitted("leave_one_out")
        mean, variance = left_out(state.inverse_diagonal(), state.weights, state.right)
        mean = state.back(state.x, mean, self.mean)
        return Prediction(
            state.shaped(mean), state.shaped(state.y_scaling.variance(variance[:, None]))
        )

    def optimize(
        self,
        over: Sequence[str] | None = None,
        objective: str = "marginal_likelihood",
        *,
        optimizer: Any = None,
        steps: int = 100,
        restarts: int = 0,
        seed: int = 0,
    ) -> "GaussianProcess":
        """Fit parameters and noise to the training points.

        Args:
          over: names of parameters, "noise" among them; None for all that are positive or have
            bounds. Noise given point by point is taken for known; name "noise_factor", or give it
            bounds, to fit the number that all its variances are multiplied by.
          objective: "marginal_likelihood", or "leave_one_out" for the sum of the log densities of
            each target given all others.
          optimizer: an optimizer of optax, such as `optax.adam(0.1)`; None for L-BFGS.
          steps: the most steps from each start.
          restarts: further starts, drawn between the bounds; the best end is taken.
          seed: of these.

        Returns:
          The fitted process with the best parameters that were seen. Its `history` holds the
          objective step by step.

        Raises:
          ValueError: the process is not fitted; a name is unknown; a parameter that is not positive
            has no bounds; the objective is nowhere finite.
        """
        state = self._fitted("optimize")
        judge = function_of("objective", objective, OBJECTIVES)
        search = search_of(over, self.bounds, optimizer, steps, restarts, seed)
        dtype, given = state.right.dtype, (self.network, self.params, self.get)

        def value(values: Any, x: Array, right: Array, noise: Array) -> Array:
            return judge(noisy_covariance(*given, values, x, noise, dtype), right)

        data = state.scaled(state.x), state.right, state.noise
        numbers = numbers_of(self.params, state.noise)
        best = best_parameters(value, data, numbers, search, dtype, state.right.size, objective)
        noise = best.values.pop(NOISE, self.noise)
        if NOISE_FACTOR in best.values:
            noise = best.values.pop(NOISE_FACTOR) * state.noise
        params = None if self.params is None else {**self.params, **best.values}
        made = dataclasses.replace(self, noise=noise, params=params, history=best.history)
        return made.fit(state.x, state.shaped(state.y))

    def report(self) -> SolveReport:
        """How the covariance of the training points was factorized, jitter and condition number."""
        return self._fitted("report").factor.report()

    def save(self, path: Any) -> None:
        """Write the fitted process to a file, without its network, which is code.

        Args:
          path: of the file, a NumPy archive.

        Raises:
          ValueError: the process is not fitted.
        """
        state = self._fitted("save")
        mean = None if callable(self.mean) else float(self.mean)
        flags = {name: getattr(self, name) for name in storage.FLAGS}
        held = storage.numbers(self.params, self.bounds, self.history)
        held = {**held, "mean": mean, "is_vector": state.is_vector, **flags}
        storage.write(path, storage.PROCESS, storage.arrays_of(state), held)

    @classmethod
    def load(cls, path: Any, network: Any, mean: Any = None) -> "GaussianProcess":
        """Read a process that `save` has written, by this version or an older one.

        Args:
          path: of the file.
          network: the network or function of parameters that it was made with.
          mean: the prior mean, if it was a function.

        Returns:
          The fitted process.

        Raises:
          ValueError: the file holds none, is damaged, or of a newer format; its kernel is another
            one; the mean was a function and is not passed, or is another one.
        """
        arrays, held = storage.read(path, storage.PROCESS)
        mean = held["mean"] if mean is None else mean
        if mean is None:
            raise ValueError("load: the prior mean was a function, which is code: pass mean=")
        noise = arrays["noise"] if arrays["noise"].ndim else arrays["noise"].item()
        options = {**storage.options(held), **{name: held[name] for name in storage.FLAGS}}
        made = cls(network, noise, mean, **options)
        state = storage.state_of(arrays, held["is_vector"], made._covariance())
        storage.check_kernel(made._covariance(), state.scaled(state.x), arrays["probe"], path)
        storage.check_mean(state, mean, path)
        return dataclasses.replace(made, _state=state)

    @property
    def is_fitted(self) -> bool:
        """Whether the process has seen training points."""
        return self._state is not None

    def _covariance(self) -> Covariance:
        return covariance_of(self.network, self.params, self.get)

    def _fitted(self, method: str) -> State:
        if self._state is None:
            raise ValueError(f"{method}: the process has seen no points: call fit(x, y) first")
        return self._state
