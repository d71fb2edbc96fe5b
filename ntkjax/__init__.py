"""Exact infinite-width neural networks in JAX: NNGP and neural tangent kernels of architectures."""

from ntkjax import predict, stax
from ntkjax._inference.kernel_regression import ntk_predict
from ntkjax._kernel.kernel import Kernel
from ntkjax._paper import compute_cntk, compute_ntk_relu

__all__ = ["Kernel", "compute_cntk", "compute_ntk_relu", "ntk_predict", "predict", "stax"]
