"""`NTKSVC`: the support vector machine on the kernel of an infinitely wide network."""

from typing import Any

import numpy as np
from scipy import linalg
from sklearn.base import ClassifierMixin
from sklearn.svm import SVC
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ntkjax._sklearn.architecture import checked_number
from ntkjax._sklearn.base import SQRT_2, KernelEstimator
from ntkjax._sklearn.cache import kernel_of
from ntkjax._sklearn.classifier import check_class_weight, check_classes
from ntkjax._sklearn.solve import check_semi_definite


class NTKSVC(ClassifierMixin, KernelEstimator):
    r"""Support vector classification with the tangent kernel (or the NNGP kernel) of a network.

    .. math::
        f(x) = \sum_i y_i a_i K(x, x_i) + b, \qquad 0 \le a_i \le C,

    one against one for several classes: scikit-learn's `SVC` on the precomputed kernel. Predictions
    need the kernel with the support vectors alone.

    Args:
      depth: number of hidden layers of a fully connected network.
      activation: its nonlinearity, a name or a layer, as in `NTKRegressor`.
      W_std: standard deviation of all its weights, above 0.
      b_std: standard deviation of all its biases, 0 for none.
      kernel: "ntk" or "nngp".
      C: the cost of a row on the wrong side, above 0.
      class_weight: factors of C for each class, as in `SVC`.
      network: another network in place of the first four parameters: a triple of `ntkjax.stax`, or
        its kernel function.
      input_shape: the shape in which `network` takes a row, such as (8, 8, 1); None for rows.
      tol: tolerance of the solver.
      max_iter: its largest number of iterations, -1 for any.
      cache_size: its memory, in MB.
      decision_function_shape: "ovr" or "ovo", the columns of `decision_function` of many classes.
      break_ties: whether `predict` breaks ties by `decision_function`.

    Attributes:
      classes_: the labels.
      svc_: the fitted `SVC`, with `dual_coef_`, `intercept_` and `n_support_`.
      support_: which rows of the fit are support vectors.
      support_vectors_: these rows, (support vectors, features), float64.
      n_features_in_: number of features.
      feature_names_in_: their names, where X is a DataFrame.

    Raises:
      ValueError: at `fit`, for a parameter out of its range, one class only, or data that
        scikit-learn refuses.

    Source: Arora et al. 2020, arXiv 1910.01663, section 4.

    Example:
      >>> from sklearn.datasets import load_iris
      >>> from ntkjax.sklearn import NTKSVC
      >>> X, y = load_iris(return_X_y=True)
      >>> model = NTKSVC(depth=2, C=10.0).fit(X[::2], y[::2])
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
        C: float = 1.0,
        class_weight: Any = None,
        network: Any = None,
        input_shape: Any = None,
        tol: float = 1e-3,
        max_iter: int = -1,
        cache_size: float = 200,
        decision_function_shape: str = "ovr",
        break_ties: bool = False,
    ) -> None:
        super().__init__(depth, activation, W_std, b_std, kernel, network, input_shape)
        self.C = C
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.cache_size = cache_size
        self.decision_function_shape = decision_function_shape
        self.break_ties = break_ties

    def fit(self, X: Any, y: Any) -> "NTKSVC":
        """Fit to rows (n, features) and labels (n,).

        Raises:
          ValueError: data or parameters out of range, one class only, or an indefinite kernel.
        """
        name = type(self).__name__
        recipe = self._new_recipe()
        checked_number(name, "C", self.C, above=0.0)
        X, y = self._checked_rows(recipe, X, y=y)
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        check_classes(name, np.unique(y))
        check_class_weight(name, self.class_weight, above=0.0)
        own = ("C", "class_weight", "tol", "max_iter", "cache_size", "decision_function_shape",
               "break_ties")  # fmt: skip
        svc = SVC(kernel="precomputed", **{key: getattr(self, key) for key in own})
        kernel = kernel_of(recipe, X)
        if not recipe.structure.is_ours:  # Kernels of networks are positive semi-definite.
            check_semi_definite(name, linalg.eigvalsh(kernel))
        self.svc_ = svc.fit(kernel, y)
        self.classes_ = self.svc_.classes_
        self.support_ = self.svc_.support_
        self.support_vectors_ = X[self.support_]
        self.n_iter_ = self.svc_.n_iter_
        return self

    def _kernel_for_svc(self, X: Any) -> np.ndarray:
        """The kernel with all rows of the fit, as `SVC` wants it, which reads some columns only."""
        kernel = self._kernel_with("support_vectors_", X)
        whole = np.zeros((len(kernel), self.svc_.shape_fit_[0]))
        whole[:, self.support_] = kernel
        return whole

    def decision_function(self, X: Any) -> np.ndarray:
        """Distances from the boundary for rows (m, features), as in `SVC`."""
        kernel = self._kernel_for_svc(X)
        return self.svc_.decision_function(kernel)

    def predict(self, X: Any) -> np.ndarray:
        """Labels for rows (m, features): (m,)."""
        kernel = self._kernel_for_svc(X)
        return self.svc_.predict(kernel)
