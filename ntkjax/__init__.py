"""Exact infinite-width neural networks in JAX: NNGP and neural tangent kernels of architectures."""

from ntkjax import architectures, gp, predict, spectrum, stax
from ntkjax._finite import (
    Estimate,
    NtkImplementation,
    empirical_kernel_fn,
    empirical_nngp_fn,
    empirical_ntk_fn,
    empirical_ntk_vp_fn,
    linearize,
    monte_carlo_kernel_fn,
    taylor_expand,
)
from ntkjax._inference.kernel_regression import ntk_predict
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.config import config
from ntkjax._layers.dual import dual
from ntkjax._layers.summary import summary
from ntkjax._paper import compute_cntk, compute_ntk_relu
from ntkjax._scale.batch import batch

__all__ = [
    "Estimate",
    "Kernel",
    "NtkImplementation",
    "architectures",
    "batch",
    "compute_cntk",
    "compute_ntk_relu",
    "config",
    "dual",
    "empirical_kernel_fn",
    "empirical_nngp_fn",
    "empirical_ntk_fn",
    "empirical_ntk_vp_fn",
    "gp",
    "linearize",
    "monte_carlo_kernel_fn",
    "ntk_predict",
    "predict",
    "spectrum",
    "stax",
    "summary",
    "taylor_expand",
]
