"""`NTKRegressor`: kernel ridge regression with the kernel of an infinitely wide network."""

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import _check_sample_weight

from ntkjax._sklearn.architecture import checked_number
from ntkjax._sklearn.base import SQRT_2, KernelEstimator
from ntkjax._sklearn.cache import kernel_of
from ntkjax._sklearn.solve import ridge_coefficients


class NTKRegressor(RegressorMixin, KernelEstimator):
    r"""Ridge regression with the tangent kernel (or the NNGP kernel) of a network.

    .. math::
        f(x) = K(x, X) (K(X, X) + \alpha)^{-1} y.

    With the tangent kernel and small alpha this is the mean of an ensemble of wide networks after
    training on the squared error; with the NNGP kernel it is the posterior mean of a Bayesian one.
    The same as scikit-learn's `KernelRidge` on the precomputed kernel. There is no intercept:
    centre targets whose mean is far from zero (`TransformedTargetRegressor`).

    Args:
      depth: number of hidden layers of a fully connected network.
      activation: its nonlinearity: a name ("relu", "erf", "gelu", "tanh", ...) or a layer such as
        `stax.LeakyRelu(0.1)`.
      W_std: standard deviation of all its weights, above 0.
      b_std: standard deviation of all its biases, 0 for none.
      kernel: "ntk" or "nngp".
      alpha: the ridge, added to the diagonal; at least 0.
      network: another network in place of these four parameters: a triple of `ntkjax.stax`, or its
        kernel function.
      input_shape: the shape in which `network` takes a row, such as (8, 8, 1); None for rows.

    Attributes:
      dual_coef_: the coefficients, (n,) or (n, outputs).
      X_fit_: the rows of the fit, (n, features), float64.
      n_features_in_: number of features.
      feature_names_in_: their names, where X is a DataFrame.

    Raises:
      ValueError: at `fit`, for a parameter out of its range or data that scikit-learn refuses.

    Source: Jacot et al. 2018, arXiv 1806.07572; Arora et al. 2020, arXiv 1910.01663.

    Example:
      >>> import numpy as np
      >>> from ntkjax.sklearn import NTKRegressor
      >>> X = np.linspace(-2, 2, 20)[:, None]
      >>> model = NTKRegressor(depth=2, activation="erf", alpha=1e-3).fit(X, np.sin(X[:, 0]))
      >>> bool(abs(model.predict([[0.5]])[0] - np.sin(0.5)) < 0.02)
      True
    """

    def __init__(
        self,
        depth: int = 3,
        activation: Any = "relu",
        W_std: float = SQRT_2,
        b_std: float = 1.0,
        *,
        kernel: str = "ntk",
        alpha: float = 0.1,
        network: Any = None,
        input_shape: Any = None,
    ) -> None:
        super().__init__(depth, activation, W_std, b_std, kernel, network, input_shape)
        self.alpha = alpha

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "NTKRegressor":
        """Fit to rows (n, features) and targets (n,) or (n, outputs), with a weight for each row.

        Raises:
          ValueError: data or parameters out of range, or an indefinite kernel matrix.
        """
        recipe = self._new_recipe()
        alpha = checked_number(type(self).__name__, "alpha", self.alpha, least=0.0)
        X, y = self._checked_rows(recipe, X, y=y, multi_output=True, y_numeric=True)
        y = np.asarray(y, np.float64)
        weights = sample_weights(sample_weight, X)
        columns = y[:, None] if y.ndim == 1 else y
        kernel = kernel_of(recipe, X)
        coef = ridge_coefficients(type(self).__name__, kernel, columns, alpha, weights)
        self.dual_coef_ = coef[:, 0] if y.ndim == 1 else coef
        self.X_fit_ = X
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predictions for rows (m, features): (m,) or (m, outputs)."""
        return self._kernel_with("X_fit_", X) @ self.dual_coef_


def sample_weights(sample_weight: Any, X: np.ndarray) -> np.ndarray | None:
    """Weights of rows, at least 0; None for equal ones."""
    if sample_weight is None:
        return None
    return _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
