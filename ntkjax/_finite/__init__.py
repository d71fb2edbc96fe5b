"""Kernels of finite networks, from their parameters."""

from ntkjax._finite.empirical import empirical_nngp_fn, empirical_ntk_fn
from ntkjax._finite.empirical_kernel import empirical_kernel_fn
from ntkjax._finite.implementation import NtkImplementation
from ntkjax._finite.linearization import linearize, taylor_expand
from ntkjax._finite.monte_carlo import Estimate, monte_carlo_kernel_fn
from ntkjax._finite.vector_product import empirical_ntk_vp_fn

__all__ = [
    "Estimate",
    "NtkImplementation",
    "empirical_kernel_fn",
    "empirical_nngp_fn",
    "empirical_ntk_fn",
    "empirical_ntk_vp_fn",
    "linearize",
    "monte_carlo_kernel_fn",
    "taylor_expand",
]
