"""`NTKFeatures`: features whose inner products are the kernel, for pipelines."""

import numbers
from typing import Any

import numpy as np
from scipy import linalg
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state

from ntkjax._kernel.arrays import describe
from ntkjax._sklearn.base import SQRT_2, KernelEstimator
from ntkjax._sklearn.cache import kernel_of
from ntkjax._sklearn.solve import check_semi_definite


class NTKFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, KernelEstimator):
    r"""Nyström features of the tangent kernel (or the NNGP kernel) of a network.

    With m random rows B of the fit as a basis,

    .. math::
        \phi(x) = K(x, B)\, K(B, B)^{-1/2}, \qquad \phi(x) \cdot \phi(x') \approx K(x, x'),

    exactly so where x or x' is in the basis: with all rows as the basis, a linear model on the
    features is the kernel model. For models without a kernel of their own, and for more rows than a
    kernel matrix allows.

    Args:
      n_components: number of rows of the basis; None, or more than there are, for all of them.
      depth: number of hidden layers of a fully connected network.
      activation: its nonlinearity, a name or a layer, as in `NTKRegressor`.
      W_std: standard deviation of all its weights, above 0.
      b_std: standard deviation of all its biases, 0 for none.
      kernel: "ntk" or "nngp".
      network: another network in place of these four parameters: a triple of `ntkjax.stax`, or its
        kernel function.
      input_shape: the shape in which `network` takes a row, such as (8, 8, 1); None for rows.
      random_state: seed of the choice of the basis, as everywhere in scikit-learn.

    Attributes:
      components_: the basis, (m, features), float64.
      component_indices_: which rows of the fit they are.
      normalization_: the inverse root of their kernel, (m, m).
      n_features_in_: number of features.
      feature_names_in_: their names, where X is a DataFrame.

    Raises:
      ValueError: at `fit`, for a parameter out of its range, data that scikit-learn refuses, or an
        indefinite kernel.

    Source: Williams & Seeger 2001, "Using the Nyström method to speed up kernel machines".

    Example:
      >>> from sklearn.datasets import load_iris
      >>> from sklearn.linear_model import RidgeClassifier
      >>> from sklearn.pipeline import make_pipeline
      >>> from ntkjax.sklearn import NTKFeatures
      >>> X, y = load_iris(return_X_y=True)
      >>> model = make_pipeline(NTKFeatures(40, depth=2, random_state=0), RidgeClassifier())
      >>> bool(model.fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.9)
      True
    """

    def __init__(
        self,
        n_components: int | None = 100,
        depth: int = 3,
        activation: Any = "relu",
        W_std: float = SQRT_2,
        b_std: float = 1.0,
        *,
        kernel: str = "ntk",
        network: Any = None,
        input_shape: Any = None,
        random_state: Any = None,
    ) -> None:
        super().__init__(depth, activation, W_std, b_std, kernel, network, input_shape)
        self.n_components = n_components
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def fit(self, X: Any, y: Any = None) -> "NTKFeatures":
        """Choose the basis of rows (n, features); y is not looked at.

        Raises:
          ValueError: data or parameters out of range.
        """
        del y
        recipe = self._new_recipe()
        count = self.n_components
        is_count = isinstance(count, numbers.Integral) and not isinstance(count, bool)
        if count is not None and not (is_count and count >= 1):
            raise ValueError(
                f"{type(self).__name__}: n_components={describe(count)}, expected a number of "
                "rows, 1 or more, or None for all."
            )
        X = self._checked_rows(recipe, X)
        order = check_random_state(self.random_state).permutation(len(X))
        self.component_indices_ = order[:count]
        self.components_ = X[self.component_indices_]
        values, vectors = linalg.eigh(kernel_of(recipe, self.components_))
        check_semi_definite(type(self).__name__, values)
        # Below rounding, directions of the basis are not there.
        kept = values > len(values) * np.finfo(float).eps * max(values[-1], 0.0)
        inverse = np.where(kept, 1 / np.sqrt(np.where(kept, values, 1.0)), 0.0)
        self.normalization_ = (vectors * inverse) @ vectors.T
        return self

    def transform(self, X: Any) -> np.ndarray:
        """The features of rows (m, features): (m, basis)."""
        return self._kernel_with("components_", X) @ self.normalization_

    @property
    def _n_features_out(self) -> int:
        """Number of features, for `get_feature_names_out`."""
        return len(self.components_)
