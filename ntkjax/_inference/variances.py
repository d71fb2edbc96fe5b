"""Posterior variances, which kernels that do not belong together make negative."""

import numpy as np
from jax import Array

from ntkjax._jax_compat import is_concrete

#: The share of a prior variance below zero that no rounding explains.
_SHARE = 0.5


def check_variances(names: str, variances: Array, priors: Array) -> None:
    """Raises ValueError where variances that have values are negative by far.

    What training points say of a test point takes from its prior variance, at most all of it. In
    float32 and with points that are nearly equal, rounding takes a little more.
    """
    if not is_concrete((variances, priors)):
        return
    left, before = np.asarray(variances), np.asarray(priors)
    rounding = np.finfo(before.dtype).eps * np.max(np.abs(before), initial=0)
    wrong = np.flatnonzero(left < -_SHARE * np.abs(before) - rounding)
    if len(wrong):
        i = int(wrong[np.argmin(left[wrong])])
        raise ValueError(
            f"{names} do not belong to one kernel: they make the variance of test point {i} "
            f"{left[i]:.3g}, of {before[i]:.3g} before training: pass what one kernel_fn returns "
            "for these points"
        )
