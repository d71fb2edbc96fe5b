"""Predictions of infinitely wide networks: Gaussian processes and training by gradient descent."""

from ntkjax._inference.gaussian import Gaussian
from ntkjax._inference.gp_inference import gp_inference
from ntkjax._inference.gradient_descent import gradient_descent
from ntkjax._inference.gradient_descent_mse import gradient_descent_mse
from ntkjax._inference.max_learning_rate import max_learning_rate
from ntkjax._inference.mse_ensemble import gradient_descent_mse_ensemble
from ntkjax._inference.mse_ensemble_steps import gradient_descent_mse_ensemble_steps
from ntkjax._inference.mse_steps import gradient_descent_mse_steps
from ntkjax._inference.ode_state import ODEState
from ntkjax._inference.solve import Solution, solve
from ntkjax._solve.failure import NotPositiveDefiniteError
from ntkjax._solve.report import SolveReport

__all__ = [
    "Gaussian",
    "NotPositiveDefiniteError",
    "ODEState",
    "Solution",
    "SolveReport",
    "gp_inference",
    "gradient_descent",
    "gradient_descent_mse",
    "gradient_descent_mse_ensemble",
    "gradient_descent_mse_ensemble_steps",
    "gradient_descent_mse_steps",
    "max_learning_rate",
    "solve",
]
