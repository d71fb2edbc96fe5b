"""What all estimators have in common: rows become matrices of float64, and pairs their kernel."""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from ntkjax._sklearn.architecture import (
    Parameters,
    Recipe,
    recipe_of,
    without_functions,
)
from ntkjax._sklearn.cache import kernel_of

#: With it, ReLU layers keep the size of their inputs: the default of `W_std`.
SQRT_2 = 2.0**0.5


class KernelEstimator(BaseEstimator):
    """An estimator on rows, which its parameters give a kernel.

    It is pickled with the kernel function alone of a `network` or an `activation` that is a triple:
    the finite network's functions are closures, which do not pickle.
    """

    def __init__(
        self,
        depth: Any,
        activation: Any,
        W_std: Any,
        b_std: Any,
        kernel: Any,
        network: Any,
        input_shape: Any,
    ) -> None:
        self.depth = depth
        self.activation = activation
        self.W_std = W_std
        self.b_std = b_std
        self.kernel = kernel
        self.network = network
        self.input_shape = input_shape

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        whole: Any = super().__getstate__()
        state = dict(whole)
        for name in ("network", "activation"):
            if name in state:
                state[name] = without_functions(state[name])
        return state

    def _new_recipe(self) -> Recipe:
        """The network of the parameters as they are, which the fit is with from here on."""
        parameters = Parameters.of(self)
        recipe = recipe_of(type(self).__name__, parameters)
        self._parameters = parameters
        return recipe

    @property
    def _recipe(self) -> Recipe:
        """The network of the fit, whatever has become of the parameters."""
        check_is_fitted(self)
        return recipe_of(type(self).__name__, self._parameters)

    def _checked_rows(self, recipe: Recipe, X: Any, **kwargs: Any) -> Any:
        """Rows that scikit-learn has checked, dense; with `y` in kwargs, both."""
        kind = {"accept_sparse": "csr", "dtype": np.float64}
        made = validate_data(self, X, **kind, **kwargs)
        X, *others = made if isinstance(made, tuple) else (made,)
        if sparse.issparse(X):
            X = X.toarray()
        if recipe.input_shape is not None and np.prod(recipe.input_shape) != X.shape[1]:
            raise ValueError(
                f"{type(self).__name__}: input_shape={recipe.input_shape} has "
                f"{np.prod(recipe.input_shape)} numbers, but X has {X.shape[1]} features; give "
                "the shape of which a row is the flattened array."
            )
        return (X, *others) if others else X

    def _kernel_with(self, fitted: str, X: Any) -> np.ndarray:
        """The kernel between new rows and some of the fit, by the name of their attribute."""
        recipe = self._recipe
        X = self._checked_rows(recipe, X, reset=False)
        return kernel_of(recipe, X, getattr(self, fitted))
