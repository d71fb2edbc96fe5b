"""`NTKKernel` for scikit-learn's Gaussian processes, and `NNGPRegressor`, one with this kernel."""

from typing import Any

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

from ntkjax._kernel.arrays import describe
from ntkjax._sklearn import evaluation
from ntkjax._sklearn.architecture import Parameters, Recipe, checked_number, recipe_of
from ntkjax._sklearn.base import SQRT_2, KernelEstimator
from ntkjax._sklearn.cache import kernel_of

BOUNDS = (1e-2, 1e2)


class NTKKernel(Kernel):
    r"""The kernel of an infinitely wide network, for `GaussianProcessRegressor` and its kin.

    Its hyperparameters are the logarithms of `W_std` and `b_std`, those of a fully connected
    network; the derivatives are exact. It adds to and multiplies with the other kernels.

    .. math::
        \theta = (\log \sigma_w, \log \sigma_b), \qquad
        \frac{\partial K}{\partial \log \sigma} = \sigma \frac{\partial K}{\partial \sigma}.

    Args:
      depth: number of hidden layers of a fully connected network.
      activation: its nonlinearity, a name or a layer, as in `NTKRegressor`.
      W_std: standard deviation of all its weights, above 0.
      b_std: standard deviation of all its biases; 0 for none, which it then stays.
      kernel: "ntk" or "nngp".
      W_std_bounds: bounds of `W_std`, a pair of numbers or "fixed".
      b_std_bounds: bounds of `b_std`, a pair of numbers or "fixed".
      network: another network in place of depth, activation, W_std and b_std, with no
        hyperparameters: a triple of `ntkjax.stax`, or its kernel function.
      input_shape: the shape in which `network` takes a row, such as (8, 8, 1); None for rows.

    Raises:
      ValueError: when the kernel is evaluated, a parameter is out of its range.

    Source: Lee et al. 2018, arXiv 1711.00165; Jacot et al. 2018, arXiv 1806.07572.

    Example:
      >>> import numpy as np
      >>> from sklearn.gaussian_process import GaussianProcessRegressor
      >>> from ntkjax.sklearn import NTKKernel
      >>> X = np.linspace(-2, 2, 20)[:, None]
      >>> model = GaussianProcessRegressor(NTKKernel(depth=2, activation="erf"), alpha=1e-4)
      >>> mean, std = model.fit(X, np.sin(X[:, 0])).predict(X, return_std=True)
      >>> bool(np.max(np.abs(mean - np.sin(X[:, 0]))) < 0.05)
      True
    """

    def __init__(
        self,
        depth: int = 3,
        activation: Any = "relu",
        W_std: float = SQRT_2,
        b_std: float = 1.0,
        kernel: str = "nngp",
        W_std_bounds: Any = BOUNDS,
        b_std_bounds: Any = BOUNDS,
        network: Any = None,
        input_shape: Any = None,
    ) -> None:
        self.depth = depth
        self.activation = activation
        self.W_std = W_std
        self.b_std = b_std
        self.kernel = kernel
        self.W_std_bounds = W_std_bounds
        self.b_std_bounds = b_std_bounds
        self.network = network
        self.input_shape = input_shape

    @property
    def hyperparameter_W_std(self) -> Hyperparameter:
        """`W_std` and its bounds."""
        bounds = self.W_std_bounds if self.network is None else "fixed"
        return Hyperparameter("W_std", "numeric", _checked_bounds("W_std_bounds", bounds))

    @property
    def hyperparameter_b_std(self) -> Hyperparameter:
        """`b_std` and its bounds; 0 has no logarithm."""
        is_free = self.network is None and self.b_std != 0
        bounds = self.b_std_bounds if is_free else "fixed"
        return Hyperparameter("b_std", "numeric", _checked_bounds("b_std_bounds", bounds))

    def _recipe(self) -> Recipe:
        return recipe_of("NTKKernel", Parameters.of(self))

    def __call__(self, X: Any, Y: Any = None, eval_gradient: bool = False) -> Any:
        """The kernel between rows (n1, d) and (n2, d), None for X again.

        Args:
          X: rows (n1, d).
          Y: rows (n2, d).
          eval_gradient: whether to return the derivatives by `theta` as well, of X with itself.

        Returns:
          (n1, n2); with `eval_gradient` a pair of it and (n1, n1, len(theta)).
        """
        recipe = self._recipe()
        X = _rows(X)
        if not eval_gradient:
            return kernel_of(recipe, X, None if Y is None else _rows(Y, X.shape[1]))
        if Y is not None:
            raise ValueError("NTKKernel: eval_gradient=True with Y; leave Y out.")
        free = [not h.fixed for h in (self.hyperparameter_W_std, self.hyperparameter_b_std)]
        if not any(free):
            return kernel_of(recipe, X), np.empty((len(X), len(X), 0))
        kernel, gradient = evaluation.with_gradient(recipe, X)
        return kernel, (gradient * np.array(recipe.numbers))[:, :, free]

    def diag(self, X: Any) -> np.ndarray:
        """The kernel of each row of (n, d) with itself, (n,)."""
        return evaluation.diagonal(self._recipe(), _rows(X))

    def is_stationary(self) -> bool:
        """Whether the kernel depends on X - Y alone: no."""
        return False

    def __getstate__(self) -> dict[str, Any]:
        given = Parameters.of(self)
        return {**self.__dict__, "activation": given.activation, "network": given.network}

    def __repr__(self) -> str:
        if self.network is not None:
            return f"NTKKernel(kernel={self.kernel!r}, network={self.network!r})"
        return (
            f"NTKKernel(depth={self.depth}, activation={self.activation!r}, "
            f"W_std={self.W_std:.3g}, b_std={self.b_std:.3g}, kernel={self.kernel!r})"
        )


def _rows(X: Any, features: int | None = None) -> np.ndarray:
    """Rows of float64, one or more; one number a row where there is no second axis."""
    X = np.asarray(X, np.float64)
    X = X if X.ndim == 2 else X.reshape(np.shape(X)[0] if X.ndim else 0, -1)
    if not X.size or (features is not None and X.shape[1] != features):
        wanted = "(n, d), with n and d of at least 1" if features is None else f"(n, {features})"
        raise ValueError(f"NTKKernel: rows have shape {X.shape}, expected {wanted}.")
    return X


def _checked_bounds(name: str, bounds: Any) -> Any:
    """Bounds of a hyperparameter as scikit-learn takes them, in order."""
    if isinstance(bounds, str) and bounds == "fixed":
        return bounds
    try:
        low, high = np.ravel(np.asarray(bounds, np.float64)).tolist()
    except (TypeError, ValueError):
        low = high = np.nan
    if not 0 < low <= high < np.inf:
        raise ValueError(
            f"NTKKernel: {name}={describe(bounds)}, expected two positive numbers, the lower one "
            "first, or 'fixed'."
        )
    return low, high


class NNGPRegressor(MultiOutputMixin, RegressorMixin, KernelEstimator):
    r"""Gaussian process regression with the prior of an infinitely wide Bayesian network.

    .. math::
        f(x) \mid X, y \sim \mathcal{N}\big(K(x, X) A^{-1} y,\; K(x, x) - K(x, X) A^{-1} K(X, x)
        \big), \qquad A = K(X, X) + \alpha.

    It is scikit-learn's `GaussianProcessRegressor` with the kernel `NTKKernel(kernel="nngp")`.

    Args:
      depth: number of hidden layers of a fully connected network.
      activation: its nonlinearity, a name or a layer, as in `NTKRegressor`.
      W_std: standard deviation of all its weights, above 0.
      b_std: standard deviation of all its biases, 0 for none.
      alpha: variance of the noise, above 0; one for all rows or an array of one for each.
      normalize_y: whether to standardise the targets for the fit.
      optimizer: None to keep W_std and b_std; "fmin_l_bfgs_b" to start from them and maximise the
        marginal likelihood.
      n_restarts_optimizer: number of further starts, drawn from bounds of 1e-2 to 1e2.
      network: another network in place of the first four parameters: a triple of `ntkjax.stax`, or
        its kernel function.
      input_shape: the shape in which `network` takes a row, such as (8, 8, 1); None for rows.
      random_state: seed of the starts.

    Attributes:
      gp_: the fitted `GaussianProcessRegressor`.
      kernel_: its kernel, with the W_std and b_std that were found.
      log_marginal_likelihood_value_: its log marginal likelihood.
      n_features_in_: number of features.
      feature_names_in_: their names, where X is a DataFrame.

    Raises:
      ValueError: at `fit`, for a parameter out of its range or data that scikit-learn refuses.

    Source: Lee et al. 2018, arXiv 1711.00165, section 2.4; Rasmussen & Williams 2006, section 2.2.

    Example:
      >>> import numpy as np
      >>> from ntkjax.sklearn import NNGPRegressor
      >>> X = np.linspace(-2, 2, 20)[:, None]
      >>> model = NNGPRegressor(depth=2, activation="erf", alpha=1e-3).fit(X, np.sin(X[:, 0]))
      >>> mean, std = model.predict([[0.5]], return_std=True)
      >>> bool(abs(mean[0] - np.sin(0.5)) < 3 * std[0])
      True
    """

    def __init__(
        self,
        depth: int = 3,
        activation: Any = "relu",
        W_std: float = SQRT_2,
        b_std: float = 1.0,
        *,
        alpha: Any = 0.01,
        normalize_y: bool = False,
        optimizer: str | None = None,
        n_restarts_optimizer: int = 0,
        network: Any = None,
        input_shape: Any = None,
        random_state: Any = None,
    ) -> None:
        super().__init__(depth, activation, W_std, b_std, "nngp", network, input_shape)
        self.alpha = alpha
        self.normalize_y = normalize_y
        self.optimizer = optimizer
        self.n_restarts_optimizer = n_restarts_optimizer
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> "NNGPRegressor":
        """Fit to rows (n, features) and targets (n,) or (n, outputs).

        Raises:
          ValueError: data or parameters out of range.
        """
        recipe = self._new_recipe()
        for value in np.ravel(self.alpha).tolist():
            checked_number(type(self).__name__, "alpha", value, above=0.0)
        X, y = self._checked_rows(recipe, X, y=y, multi_output=True, y_numeric=True)
        if np.shape(self.alpha) not in ((), (len(X),)):
            raise ValueError(
                f"{type(self).__name__}: alpha has shape {np.shape(self.alpha)}, expected one "
                f"number or ({len(X)},), a variance for each row."
            )
        given = self._parameters._asdict()
        optimizer: Any = self.optimizer
        self.gp_ = GaussianProcessRegressor(
            NTKKernel(**given),
            alpha=self.alpha,
            optimizer=optimizer,
            n_restarts_optimizer=self.n_restarts_optimizer,
            normalize_y=self.normalize_y,
            random_state=self.random_state,
        ).fit(X, np.asarray(y, np.float64))
        self.kernel_ = self.gp_.kernel_
        self.log_marginal_likelihood_value_ = self.gp_.log_marginal_likelihood_value_
        return self

    def predict(self, X: Any, return_std: bool = False, return_cov: bool = False) -> Any:
        """The posterior at rows (m, features).

        Args:
          X: rows.
          return_std: whether to return the standard deviations of f, too.
          return_cov: whether to return the covariance of f, too.

        Returns:
          The mean, (m,) or (m, outputs); or a pair of it and the standard deviations, of the same
          shape, or the covariance, (m, m) or (m, m, outputs).
        """
        X = self._checked_rows(self._recipe, X, reset=False)
        return self.gp_.predict(X, return_std=return_std, return_cov=return_cov)

    def sample_y(self, X: Any, n_samples: int = 1, random_state: Any = 0) -> np.ndarray:
        """Functions drawn from the posterior at rows (m, features): (m, n_samples), by seed."""
        X = self._checked_rows(self._recipe, X, reset=False)
        return self.gp_.sample_y(X, n_samples, random_state)
