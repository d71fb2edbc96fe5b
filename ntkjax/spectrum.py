"""The spectrum of a kernel: capacity, alignment, predicted learning curves, early stopping."""

from ntkjax._spectrum.capacity import effective_dimension
from ntkjax._spectrum.learning_curve import LearningCurve, learning_curve
from ntkjax._spectrum.spectrum import Spectrum, eigenvalues
from ntkjax._spectrum.stopping import Stopping, stopping_steps, stopping_time

__all__ = [
    "LearningCurve",
    "Spectrum",
    "Stopping",
    "effective_dimension",
    "eigenvalues",
    "learning_curve",
    "stopping_steps",
    "stopping_time",
]
