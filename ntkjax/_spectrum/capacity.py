"""How many modes of a kernel a ridge lets through."""

from typing import Any

import numpy as np

from ntkjax._spectrum.arguments import ridges, vector


def effective_dimension(eigenvalues: Any, ridge: Any) -> Any:
    r"""The effective dimension of a spectrum at a ridge.

    .. math::
        d(r) = \sum_i \frac{\lambda_i}{\lambda_i + r}

    Ridge regression with r in the units of the eigenvalues fits as many modes: those of eigenvalues
    far above r as a whole, those far below not at all. At r = 0 it is the rank.

    Args:
      eigenvalues: `(n,)`, at least 0, in any order: those of K for a ridge that is added to K, as
        `n * ntkjax.spectrum.eigenvalues(K)` returns them.
      ridge: r, at least 0: a number or an array of any shape.

    Returns:
      A float, or an array of the shape of `ridge`.

    Raises:
      ValueError: an eigenvalue or a ridge is negative or not finite; `eigenvalues` is no vector.
      TypeError: an argument is not real, or is traced.

    Source: Zhang 2005, "Learning bounds for kernel regression using effective data dimensionality".

    Example:
      >>> effective_dimension([3.0, 1.0, 0.0], 1.0)
      1.25
    """
    values, strengths = vector("eigenvalues", eigenvalues), ridges(ridge)
    positive = values[values > 0]
    found = np.sum(positive / (positive + strengths[..., None]), axis=-1)
    return found if strengths.ndim else float(found)
