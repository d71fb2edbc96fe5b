r"""Learning curves of kernel ridge regression, predicted from the spectrum of the kernel.

Training on n random points acts on the modes of the kernel as ridge regression on all of the
distribution would, with an *effective ridge* :math:`\kappa` above the one that is asked for.
"""

from typing import Any, NamedTuple

import numpy as np

from ntkjax._spectrum.arguments import not_negative, training_sizes, variance, vector
from ntkjax._spectrum.effective_ridge import effective_ridge


class LearningCurve(NamedTuple):
    r"""Predicted errors of kernel ridge regression by the number of training points.

    Args:
      sizes: numbers of training points, of any shape.
      test_mse: mean squared errors on new points, of the same shape, noise of their targets
        included. Infinite where a kernel interpolates exactly as many modes as there are points.
      train_mse: those on the training points.
      effective_ridge: :math:`\kappa`, in the units of the eigenvalues.
      effective_dimension: how many modes are learned: the sum of the learnabilities.
      learnabilities: :math:`\lambda_i / (\lambda_i + \kappa)`, from 0 to 1, `(*sizes.shape,
        modes)`: the share of mode i that is learned on average.

    Example:
      >>> from ntkjax.spectrum import learning_curve
      >>> curve = learning_curve([1.0, 0.1], [0.5, 0.5], sizes=[1, 10], ridge=0.1)
      >>> print(curve.learnabilities.round(2))
      [[0.65 0.16]
       [0.99 0.89]]
    """

    sizes: np.ndarray
    test_mse: np.ndarray
    train_mse: np.ndarray
    effective_ridge: np.ndarray
    effective_dimension: np.ndarray
    learnabilities: np.ndarray


def learning_curve(
    eigenvalues: Any,
    power: Any,
    sizes: Any,
    ridge: Any = 0.0,
    noise: float = 0.0,
    population: int | None = None,
) -> LearningCurve:
    r"""The errors of kernel ridge regression on n random points, predicted from the spectrum.

    The kernel has eigenvalues :math:`\lambda_i` over the distribution of points, and the target
    function the coefficients :math:`v_i` in its orthonormal eigenfunctions. Prediction is
    :math:`K_* (K + r)^{-1} y` with noise of variance :math:`\sigma^2` on y. With
    :math:`\kappa` the solution of

    .. math::
        \sum_i \frac{\lambda_i}{\lambda_i + \kappa} + \frac r\kappa = n,
        \qquad L_i = \frac{\lambda_i}{\lambda_i + \kappa},

    the mean over draws of the training points is, close to

    .. math::
        E_\mathrm{test} = \frac{n}{n - \sum_i L_i^2}
        \left(\sum_i (1 - L_i)^2 v_i^2 + \sigma^2\right), \qquad
        E_\mathrm{train} = \left(\frac{r}{n \kappa}\right)^2 E_\mathrm{test}.

    A `population` of M points, from which n are drawn without replacement and the rest are tested,
    shares none of its points between both. With :math:`d = \sum_i L_i`, :math:`q = \sum_i L_i^2`,

    .. math::
        d + \frac r\kappa \left(1 - \frac dM\right) = n, \qquad
        E_\mathrm{test} = \frac{n \left(\sum_i (1 - L_i)^2 (v_i^2 + \sigma^2 / M)\right)}
        {(n - d)(1 - d / M) + (d - q)(1 - n / M)},

    with a sum over all M modes. At n = M this is generalised cross-validation, as M grows the
    formula above. `docs/theory.md` derives it.

    The formulas hold for many features that are Gaussian or nearly so. They are too low where some
    points are far from all others and the ridge is small; then `generalized_cross_validation` of a
    `Spectrum`, which rests on the same, is below its `leave_one_out`, which does not.

    Args:
      eigenvalues: :math:`\lambda_i`, those of K / M for a kernel of many points, as
        `ntkjax.spectrum.eigenvalues` returns them, `(modes,)`, at least 0.
      power: :math:`v_i^2`, `(modes,)`, as `Spectrum.power` returns it.
      sizes: numbers of training points n, of any shape.
      ridge: r, added to the kernel matrix of the training points as it is; a number, or an array
        that fits `sizes`.
      noise: the variance :math:`\sigma^2` of noise on targets, those of test points included.
      population: M, at least the number of modes; None for one without end.

    Returns:
      A `LearningCurve`: errors, effective ridges and dimensions, learnabilities. Errors against the
      function without its noise are `test_mse - noise`.

    Raises:
      ValueError: numbers are negative or not finite; sizes are not whole, or above the population;
        shapes do not fit.
      TypeError: an argument is not real, or is traced.

    Source: Canatar, Bordelon, Pehlevan 2021, arXiv 2006.13198; Simon et al. 2021, arXiv 2110.03922.

    Example:
      >>> import numpy as np
      >>> eigenvalues = 1 / np.arange(1, 1001) ** 2
      >>> power = eigenvalues / eigenvalues.sum()
      >>> print(learning_curve(eigenvalues, power, [10, 100], ridge=1e-3).test_mse.round(4))
      [0.135  0.0137]
    """
    values, powers = vector("eigenvalues", eigenvalues), vector("power", power)
    if values.shape != powers.shape:
        raise ValueError(
            f"power has shape {powers.shape}, but eigenvalues have shape {values.shape}: pass the "
            "power of the targets in each mode"
        )
    sigma2 = variance(noise)
    share = _share(population, len(values))
    counts = training_sizes(sizes, 1 / share if share else np.inf)
    strengths = not_negative("ridge", ridge)
    try:
        strengths = np.broadcast_to(strengths, counts.shape)
    except ValueError:
        raise ValueError(
            f"ridge has shape {strengths.shape}, expected a number or the shape {counts.shape} of "
            "sizes: pass one ridge, or one for each size"
        ) from None
    order = np.argsort(values)[::-1]
    made = [
        _point(values[order], powers[order], float(n), float(r), sigma2, share)
        for n, r in zip(counts.ravel(), strengths.ravel(), strict=True)
    ]
    test, train, kappa, dimension = (
        np.array([each[k] for each in made]).reshape(counts.shape) for k in range(4)
    )
    learned = np.zeros((len(made), len(values)))
    for row, each in zip(learned, made, strict=True):
        row[order] = each[4]
    learned = learned.reshape(*counts.shape, len(values))
    return LearningCurve(counts.astype(int), test, train, kappa, dimension, learned)


def _share(population: Any, modes: int) -> float:
    """1 / M: the share of one point in the population, 0 in one without end."""
    if population is None:
        return 0.0
    is_count = isinstance(population, (int, np.integer)) and not isinstance(population, bool)
    if not is_count or population < modes:
        raise ValueError(
            f"population must be a whole number of at least {modes}, the number of modes, got "
            f"{population}: pass the number of points whose kernel has these eigenvalues, or None"
        )
    return 1 / int(population)


def _point(
    values: np.ndarray, power: np.ndarray, n: float, ridge: float, noise: float, share: float
) -> tuple[float, float, float, float, np.ndarray]:
    """Errors on test and on training points, kappa, the effective dimension, learnabilities.

    `values` are in descending order. What is near to nothing, such as 1 - L and n - d, is summed
    from what is left of each mode, not subtracted.
    """
    rank = int(np.count_nonzero(values))
    seen, unseen = power[:rank] + noise * share, float(np.sum(power[rank:]))
    if unseen <= np.finfo(float).eps * float(np.sum(power)):
        unseen = 0.0  # rounding
    rest = unseen + noise * (1 - rank * share)  # of modes that the kernel lacks
    kappa = effective_ridge(values[:rank], n, ridge, share)
    left = kappa / (values[:rank] + kappa)  # 1 - L
    learned = np.zeros(len(values))
    learned[:rank] = values[:rank] / (values[:rank] + kappa)
    spare = n - rank + float(np.sum(left))  # n - d
    if kappa > 0:
        error = float(np.sum(left**2 * seen)) + rest
        spread = float(np.sum(left * learned[:rank]))  # d - q
        dead = 1 - rank * share + share * float(np.sum(left))  # 1 - d / M
        test = n * error / (spare * dead + spread * (1 - n * share))
    elif n > rank:
        test = n * rest / ((n - rank) * (1 - rank * share))
    elif n * share == 1:
        # The limit of kappa to 0 at n = M = rank: generalised cross-validation without a ridge.
        inverse = values[rank - 1] / values[:rank]
        test = float(np.sum(inverse**2 * seen) / np.mean(inverse) ** 2)
    else:
        test = np.inf if rest > 0 else 0.0
    train = test * (spare / n) ** 2 if spare else 0.0
    return test, train, kappa, float(np.sum(learned)), learned
