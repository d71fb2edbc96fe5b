"""`NTKClassifier`: ridge regression on one-hot labels."""

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ntkjax._sklearn.architecture import checked_number
from ntkjax._sklearn.base import SQRT_2, KernelEstimator
from ntkjax._sklearn.cache import kernel_of
from ntkjax._sklearn.regressor import sample_weights
from ntkjax._sklearn.solve import ridge_coefficients


class NTKClassifier(ClassifierMixin, KernelEstimator):
    r"""Ridge regression on labels, 1 for the class of a row and -1 for every other one.

    .. math::
        f(x) = K(x, X) (K(X, X) + \alpha)^{-1} Y, \qquad \hat{c}(x) = \arg\max_c f_c(x).

    Args:
      depth: number of hidden layers of a fully connected network.
      activation: its nonlinearity, a name or a layer, as in `NTKRegressor`.
      W_std: standard deviation of all its weights, above 0.
      b_std: standard deviation of all its biases, 0 for none.
      kernel: "ntk" or "nngp".
      alpha: the ridge, added to the diagonal; at least 0.
      class_weight: a weight for each class, as a dict; "balanced" for the inverse of its share of
        the rows; None for equal ones. They multiply the weights of rows.
      network: another network in place of the first four parameters: a triple of `ntkjax.stax`, or
        its kernel function.
      input_shape: the shape in which `network` takes a row, such as (8, 8, 1); None for rows.

    Attributes:
      classes_: the labels.
      dual_coef_: the coefficients, (n,) for two classes, (n, classes) for more.
      X_fit_: the rows of the fit, (n, features), float64.
      n_features_in_: number of features.
      feature_names_in_: their names, where X is a DataFrame.

    Raises:
      ValueError: at `fit`, for a parameter out of its range, one class only, or data that
        scikit-learn refuses.

    Source: Lee et al. 2018, arXiv 1711.00165, section 3.1; Arora et al. 2019, arXiv 1904.11955.

    Example:
      >>> from sklearn.datasets import load_iris
      >>> from ntkjax.sklearn import NTKClassifier
      >>> X, y = load_iris(return_X_y=True)
      >>> model = NTKClassifier(depth=2).fit(X[::2], y[::2])
      >>> bool(model.score(X[1::2], y[1::2]) > 0.9)
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
        class_weight: Any = None,
        network: Any = None,
        input_shape: Any = None,
    ) -> None:
        super().__init__(depth, activation, W_std, b_std, kernel, network, input_shape)
        self.alpha = alpha
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "NTKClassifier":
        """Fit to rows (n, features) and labels (n,), with a weight for each row.

        Raises:
          ValueError: data or parameters out of range, one class only, or an indefinite kernel.
        """
        name = type(self).__name__
        recipe = self._new_recipe()
        alpha = checked_number(name, "alpha", self.alpha, least=0.0)
        X, y = self._checked_rows(recipe, X, y=y)
        check_classification_targets(y)
        self.classes_, labels = np.unique(column_or_1d(y, warn=True), return_inverse=True)
        weights = sample_weights(sample_weight, X)
        check_class_weight(name, self.class_weight, least=0.0)
        if self.class_weight is not None:
            of_classes = compute_sample_weight(self.class_weight, y)
            weights = of_classes if weights is None else weights * of_classes
        counted = labels if weights is None else labels[weights > 0]
        check_classes(name, self.classes_[np.unique(counted)])
        count = len(self.classes_)
        targets = np.where(labels[:, None] == np.arange(count), 1.0, -1.0)
        targets = targets[:, 1:] if count == 2 else targets
        coef = ridge_coefficients(name, kernel_of(recipe, X), targets, alpha, weights)
        self.dual_coef_ = coef[:, 0] if count == 2 else coef
        self.X_fit_ = X
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """The regression's outputs for rows (m, features).

        Of two classes (m,), above 0 for the second one; of more (m, classes).
        """
        return self._kernel_with("X_fit_", X) @ self.dual_coef_

    def predict(self, X: Any) -> np.ndarray:
        """Labels for rows (m, features): (m,)."""
        scores = self.decision_function(X)
        best = scores.argmax(1) if scores.ndim == 2 else (scores > 0).astype(int)
        return self.classes_[best]


def check_class_weight(owner: str, weights: Any, **bounds: float) -> None:
    """Raises where a dict of class weights holds something else than numbers within bounds."""
    if isinstance(weights, dict):
        for label, weight in weights.items():
            checked_number(owner, f"class_weight[{label!r}]", weight, **bounds)


def check_classes(owner: str, classes: np.ndarray) -> None:
    """A classifier needs two classes."""
    if len(classes) < 2:
        raise ValueError(
            f"{owner}: y has one class only, {classes.tolist()[0]!r}, among the rows whose weight "
            "is not 0; a classifier needs rows of at least two classes."
        )
