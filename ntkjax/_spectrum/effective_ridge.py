r"""The effective ridge of kernel regression on n random points.

It is the root :math:`\kappa` of

.. math::
    F(\kappa) = n - d(\kappa) - \frac r\kappa \left(1 - \frac{d(\kappa)}M\right),
    \qquad d(\kappa) = \sum_i \frac{\lambda_i}{\lambda_i + \kappa}.

F rises with :math:`\kappa`, as both terms that are subtracted fall. It is negative or zero at r / n
and, with more than n modes, at :math:`\lambda_{n+1} / n`, since n + 1 modes are learned there to at
least n / (n + 1); it is positive or zero at :math:`(\sum \lambda + r) / n`, since
:math:`d \le \sum \lambda / \kappa`. Between these, the logarithm is bisected. Without a ridge and
with at most n modes, all are learned and the root is 0.
"""

import math

import numpy as np

#: Bisections, more than any two float64 are apart.
_MOST = 200
#: In units of the largest number; below it, an eigenvalue or a ridge is as good as 0.
_LEAST = 1e-300


def effective_ridge(values: np.ndarray, n: float, ridge: float, share: float) -> float:
    """The root for positive eigenvalues in descending order; `share` is 1 / M."""
    rank = len(values)
    if ridge == 0 and rank <= n:
        return 0.0
    unit = max(float(values[0]) if rank else 0.0, ridge)
    scaled, strength = values / unit, ridge / unit
    low = strength / n
    if rank > n:
        low = max(low, float(scaled[int(n)]) / n)
    high = (float(np.sum(scaled)) + strength) / n

    def rises(kappa: float) -> bool:
        left = float(np.sum(kappa / (scaled + kappa)))
        dead = 1 - rank * share + share * left
        return n - rank + left > strength / kappa * dead

    low, high = math.log(max(low, _LEAST)) - 1e-12, math.log(high) + 1e-12
    for _ in range(_MOST):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (low, middle) if rises(math.exp(middle)) else (middle, high)
    return unit * math.exp((low + high) / 2)
