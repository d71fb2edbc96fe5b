"""Estimators of scikit-learn with the kernels of infinitely wide networks.

They need scikit-learn: `pip install 'ntkjax[sklearn]'`. Kernels and solves are in float64, whatever
`jax_enable_x64` says. In a cross-validation or a grid search no pair of rows is computed twice for
one network (`kernel_cache`).
"""

import importlib.util

if importlib.util.find_spec("sklearn") is None:
    raise ImportError(
        "ntkjax.sklearn needs scikit-learn, which is not installed; "
        "pip install 'ntkjax[sklearn]' installs it."
    )

from ntkjax._sklearn.cache import KernelCache, kernel_cache
from ntkjax._sklearn.classifier import NTKClassifier
from ntkjax._sklearn.features import NTKFeatures
from ntkjax._sklearn.gaussian_process import NNGPRegressor, NTKKernel
from ntkjax._sklearn.regressor import NTKRegressor
from ntkjax._sklearn.svc import NTKSVC

__all__ = [
    "NTKSVC",
    "KernelCache",
    "NNGPRegressor",
    "NTKClassifier",
    "NTKFeatures",
    "NTKKernel",
    "NTKRegressor",
    "kernel_cache",
]
