"""Gaussian processes whose covariance is the kernel of an infinitely wide network."""

from ntkjax._gp.classifier import GaussianProcessClassifier
from ntkjax._gp.prediction import Prediction
from ntkjax._gp.process import GaussianProcess
from ntkjax._gp.tinygp_kernel import tinygp_kernel
from ntkjax._inference.gaussian import Gaussian
from ntkjax._solve.failure import NotPositiveDefiniteError
from ntkjax._solve.report import SolveReport

__all__ = [
    "Gaussian",
    "GaussianProcess",
    "GaussianProcessClassifier",
    "NotPositiveDefiniteError",
    "Prediction",
    "SolveReport",
    "tinygp_kernel",
]
