"""Exact infinite-width neural networks in JAX: NNGP and neural tangent kernels of architectures."""

from ntkjax import predict, stax
from ntkjax._finite import (
    NtkImplementation,
    empirical_kernel_fn,
    empirical_nngp_fn,
    empirical_ntk_fn,
    linearize,
    taylor_expand,
)
from ntkjax._inference.kernel_regression import ntk_predict
from ntkjax._kernel.algebra.kernel import Kernel
from ntkjax._kernel.config import config
from ntkjax._layers.dual import dual
from ntkjax._paper import compute_cntk, compute_ntk_relu

__all__ = [
    "Kernel",
    "NtkImplementation",
    "compute_cntk",
    "compute_ntk_relu",
    "config",
    "dual",
    "empirical_kernel_fn",
    "empirical_nngp_fn",
    "empirical_ntk_fn",
    "linearize",
    "ntk_predict",
    "predict",
    "stax",
    "taylor_expand",
]
