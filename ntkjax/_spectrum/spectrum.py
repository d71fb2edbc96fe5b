"""The eigenvalues and eigenvectors of a kernel matrix, and what they say of some targets."""

from typing import Any

import numpy as np

from ntkjax._solve.semi_definite import check_semi_definite
from ntkjax._spectrum.arguments import kernel_matrix, ridges, targets_matrix
from ntkjax._spectrum.capacity import effective_dimension
from ntkjax._spectrum.learning_curve import LearningCurve, learning_curve
from ntkjax._spectrum.validation import generalized_cross_validation, leave_one_out


def eigenvalues(kernel: Any) -> np.ndarray:
    r"""The eigenvalues of K / n, in descending order.

    Of a kernel K of n points. They estimate those of the kernel as an operator,
    :math:`\lambda \phi(x) = E_{x'} K(x, x') \phi(x')` over the distribution of the points, so they
    settle as n grows, and their sum is the mean of the diagonal of K. They are computed in float64,
    whatever JAX is set to.

    Args:
      kernel: of some points with themselves, `(n, n)`.

    Returns:
      An array of NumPy, `(n,)`. What is negative by rounding is 0.

    Raises:
      ValueError: the kernel is not square, not symmetric, not finite, or has an eigenvalue that is
        negative beyond rounding.
      TypeError: it is no array of real numbers, or is traced.

    Source: Rasmussen and Williams 2006, section 4.3.2.

    Example:
      >>> import numpy as np
      >>> print(eigenvalues(np.array([[2.0, 1.0], [1.0, 2.0]])).round(3))
      [1.5 0.5]
    """
    matrix, rounding = kernel_matrix(kernel)
    return _descending(np.linalg.eigvalsh(matrix), rounding)


def _descending(values: np.ndarray, rounding: float) -> np.ndarray:
    """Eigenvalues of K in ascending order as those of K / n, in descending order."""
    check_semi_definite(values, rounding, "kernel")
    return np.maximum(values[::-1], 0.0) / len(values)


class Spectrum:
    r"""The eigenvalues and eigenvectors of a kernel matrix.

    With :math:`K / n = \sum_i \lambda_i u_i u_i^T` for the kernel K of n points. A network that is
    trained by gradient descent learns the modes :math:`u_i` of its NTK one after the other, those
    of large eigenvalues first. All is computed in float64, whatever JAX is set to.

    Ridges count in units of K, to whose diagonal they are added, as `diag_reg` does with
    `diag_reg_absolute_scale=True`. Squared errors are means over points and outputs.

    Args:
      kernel: K, `(n, n)`: an NTK or NNGP, `kernel_fn(x, None, "ntk")`.

    Attributes:
      eigenvalues: of K / n, in descending order, `(n,)`.
      eigenvectors: orthonormal columns in the same order, `(n, n)`.

    Raises:
      ValueError: the kernel is not square, not symmetric, not finite, or has an eigenvalue that is
        negative beyond rounding.
      TypeError: it is no array of real numbers, or is traced.

    Source: Canatar, Bordelon, Pehlevan 2021, arXiv 2006.13198; Simon et al. 2021, arXiv 2110.03922.

    Example:
      >>> import numpy as np
      >>> x = np.linspace(-1, 1, 50)
      >>> spectrum = Spectrum(np.exp(-5 * (x[:, None] - x[None, :]) ** 2))
      >>> spectrum
      Spectrum(n=50, eigenvalues from 0.357 to 0, sum 1, effective rank 3.99)
      >>> print(spectrum.alignment(np.sin(3 * x))[:4].round(2))
      [0.   0.95 0.95 0.99]
      >>> print(round(spectrum.effective_dimension(0.1), 2))
      7.57
    """

    def __init__(self, kernel: Any) -> None:
        matrix, rounding = kernel_matrix(kernel)
        values, vectors = np.linalg.eigh(matrix)
        self.eigenvalues = _descending(values, rounding)
        self.eigenvectors = vectors[:, ::-1]

    def __len__(self) -> int:
        """The number of points."""
        return len(self.eigenvalues)

    def __repr__(self) -> str:
        values = self.eigenvalues
        total, square = float(np.sum(values)), float(np.sum(values**2))
        rank = total**2 / square if square else 0.0
        return (
            f"Spectrum(n={len(self)}, eigenvalues from {values[0]:.3g} to {values[-1]:.3g}, sum "
            f"{total:.3g}, effective rank {rank:.3g})"
        )

    def power(self, targets: Any) -> np.ndarray:
        r"""The power of the targets in each mode, `(n,)`: :math:`(u_i^T y)^2 / n`.

        It is the mean over outputs, and sums to the mean of `targets ** 2`. `targets` are `(n,)` or
        `(n, n_outputs)`.
        """
        y = targets_matrix(targets, len(self))
        with np.errstate(over="ignore"):
            power = np.mean((self.eigenvectors.T @ y) ** 2, axis=1) / len(self)
        if not np.all(np.isfinite(power)):
            raise ValueError(
                f"targets of up to {np.max(np.abs(y)):.2g} have squares that float64 does not "
                "hold: pass them in other units"
            )
        return power

    def alignment(self, targets: Any) -> np.ndarray:
        """The share of the targets' power in the first modes, `(n,)`: cumulative, up to 1.

        The faster it rises, the fewer examples the kernel needs. Targets that are all zero raise
        ValueError.
        """
        power = np.cumsum(self.power(targets))
        if power[-1] == 0:
            raise ValueError(
                "targets are all zero, so that modes have no share in them: pass others"
            )
        return power / power[-1]

    def effective_dimension(self, ridge: Any) -> Any:
        r"""The effective dimension :math:`\sum_i \mu_i / (\mu_i + r)`, of eigenvalues of K.

        Also called degrees of freedom: how many modes ridge regression with the ridge r fits. It is
        a float, or an array of the shape of `ridge`.
        """
        return effective_dimension(len(self) * self.eigenvalues, ridge)

    def leave_one_out(self, targets: Any, ridge: Any) -> Any:
        """The mean squared error at each point of the fit to all others; for each ridge.

        Exact, from one eigendecomposition (Rasmussen and Williams 2006, equation 5.12). A ridge of
        0 needs a kernel that is not singular.
        """
        y, strengths = targets_matrix(targets, len(self)), ridges(ridge)
        return leave_one_out(len(self) * self.eigenvalues, self.eigenvectors, y, strengths)

    def generalized_cross_validation(self, targets: Any, ridge: Any) -> Any:
        r"""The estimate of the error on new points by generalised cross-validation; for each ridge.

        :math:`\frac1n |y - \hat y|^2 / (1 - d / n)^2` with d the effective dimension: the error on
        training points, inflated (Golub, Heath, Wahba 1979). It is what `learning_curve` gives for
        all n points. A ridge of 0 needs a kernel that is not singular.
        """
        power = self.power(targets)
        return generalized_cross_validation(len(self) * self.eigenvalues, power, ridges(ridge))

    def learning_curve(
        self, targets: Any, sizes: Any, ridge: Any = 0.0, noise: float = 0.0
    ) -> LearningCurve:
        """The errors of ridge regression on random subsets of the n points, tested on the others.

        `ntkjax.spectrum.learning_curve` for the modes of this spectrum and the power of `targets`
        in them, with the n points as the population.
        """
        power = self.power(targets)
        return learning_curve(self.eigenvalues, power, sizes, ridge, noise, len(self))
