"""`GaussianProcessClassifier`: classes with calibrated probabilities, by regression on them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._gp.arguments import count_of, function_of, noise_variance, parameters, points
from ntkjax._gp.process import GaussianProcess
from ntkjax._kernel.arrays import as_floats, describe


@dataclasses.dataclass(frozen=True, eq=False)
class GaussianProcessClassifier:
    r"""Classes by Gaussian processes whose covariance is the kernel of a network.

    With the "dirichlet" likelihood, each point has class probabilities with a Dirichlet posterior
    of concentrations :math:`\alpha_c = [c = y] + \epsilon`. Their unnormalised parts are Gamma
    variables, matched by log-normal ones: process c regresses on
    :math:`\log \alpha_c - s_c / 2` with a noise of variance :math:`s_c = \log(1 + 1 / \alpha_c)`
    that differs from point to point, and probabilities are the mean of the softmax of the
    processes. With "one_hot" it regresses on 1 and 0, centred, and probabilities are the shares of
    draws of the noisy targets in which a class is the largest.

    Args:
      network: as of `GaussianProcess`.
      likelihood: "dirichlet" or "one_hot".
      noise: of "one_hot", the variance of the targets' noise.
      epsilon: of "dirichlet", the concentration of a class that was not seen: the smaller, the
        surer of its labels the classifier is (the paper takes 0.01).
      params: as of `GaussianProcess`.
      get: which kernel is the covariance, "nngp" or "ntk".

    Returns:
      A classifier to `fit`.

    Raises:
      ValueError: an argument is out of its range, or unknown.
      TypeError: `network` has no kernel.

    Source: Milios et al. 2018, arXiv 1805.10915 ("dirichlet"); Lee et al. 2018, arXiv 1711.00165
    ("one_hot").

    Example:
      >>> import numpy as np
      >>> from ntkjax import gp, stax
      >>> network = stax.serial(stax.Dense(1, 2.0, 1.0), stax.Erf(), stax.Dense(1, 3.0))
      >>> x = np.linspace(-2, 2, 12)[:, None]
      >>> classifier = gp.GaussianProcessClassifier(network).fit(x, x[:, 0] > 0)
      >>> print(classifier.predict(np.array([[-1.5], [1.5]])))
      [False  True]
      >>> classifier.predict_proba(np.array([[-1.5], [0.0]])).shape
      (2, 2)
    """

    network: Any
    likelihood: str = "dirichlet"
    noise: float = 0.01
    epsilon: float = 0.1
    params: Mapping[str, Any] | None = None
    get: str = "nngp"
    #: The labels of the classes, sorted.
    classes: Any = None
    _processes: tuple[GaussianProcess, ...] = dataclasses.field(default=(), repr=False)

    def __post_init__(self) -> None:
        function_of("likelihood", self.likelihood, _TARGETS)
        noise_variance(self.noise)
        parameters(self.params)
        if not (np.ndim(self.epsilon) == 0 and 0 < self.epsilon < np.inf):
            raise ValueError(
                f"epsilon must be a positive number, got {describe(self.epsilon)}: pass 0.1"
            )
        self._process(0.0)

    def fit(self, x: Any, labels: Any) -> "GaussianProcessClassifier":
        """Learn from labels.

        Args:
          x: training inputs `(n, ...)`.
          labels: `(n,)`, of integers, booleans or strings.

        Returns:
          The fitted classifier.

        Raises:
          ValueError: shapes do not fit, or there is one class only.
        """
        inputs, names = points("x", x), np.asarray(labels)
        if names.shape != (len(inputs),):
            raise ValueError(
                f"labels has shape {names.shape}, expected ({len(inputs)},): pass a label for each "
                "of the points of x"
            )
        if names.dtype.kind in "fc":
            raise ValueError(
                f"labels has dtype {names.dtype}, expected integers, booleans or strings: pass "
                "labels.astype(int), or use GaussianProcess for numbers"
            )
        classes, indices = np.unique(names, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"labels holds one class only, {classes.tolist()[0]!r}: pass points of two or more"
            )
        one_hot = np.eye(len(classes))[indices]
        processes = _TARGETS[self.likelihood](self, inputs, one_hot)
        return dataclasses.replace(self, classes=classes, _processes=processes)

    def predict_proba(self, x: Any, draws: int = 1000, seed: int = 0) -> Array:
        """The probability of each class at points.

        Args:
          x: inputs `(m, ...)`.
          draws: how many draws of the processes probabilities are the mean over.
          seed: of these.

        Returns:
          `(m, n_classes)`, in the order of `classes`; rows sum to 1.

        Raises:
          ValueError: the classifier is not fitted, or inputs do not fit.
        """
        if not self._processes:
            raise ValueError("predict_proba: the classifier has seen no points: call fit first")
        is_one_hot = self.likelihood == "one_hot"
        found = [process.predict(x, noisy=is_one_hot) for process in self._processes]
        mean, variance = (
            jnp.concatenate([one[i].reshape(len(one[i]), -1) for one in found], axis=1)
            for i in (0, 1)
        )
        key = jax.random.key(count_of("seed", seed, 0))
        shape = (count_of("draws", draws), *mean.shape)
        return _mean_choice(mean, variance, jax.random.normal(key, shape, mean.dtype), is_one_hot)

    def predict(self, x: Any) -> np.ndarray:
        """The most probable class at points.

        Args:
          x: inputs `(m, ...)`.

        Returns:
          Labels, `(m,)`.

        Raises:
          ValueError: the classifier is not fitted, or inputs do not fit.
        """
        return self.classes[np.argmax(np.asarray(self.predict_proba(x)), axis=1)]

    def _process(self, noise: Any) -> GaussianProcess:
        return GaussianProcess(self.network, noise, params=self.params, get=self.get)


@jax.jit
def _softmaxes(drawn: Array) -> Array:
    return jnp.mean(jax.nn.softmax(drawn, axis=-1), axis=0)


def _mean_choice(mean: Array, variance: Array, normal: Array, is_one_hot: bool) -> Array:
    drawn = mean[None] + jnp.sqrt(variance)[None] * normal
    if not is_one_hot:
        return _softmaxes(drawn)
    largest = jnp.argmax(drawn, axis=-1)
    return jnp.mean(jax.nn.one_hot(largest, drawn.shape[-1], dtype=mean.dtype), axis=0)


def _one_hot(
    classifier: GaussianProcessClassifier, x: Array, one_hot: np.ndarray
) -> tuple[GaussianProcess, ...]:
    y = as_floats("labels", one_hot - 1 / one_hot.shape[1], warns=False)
    return (classifier._process(classifier.noise).fit(x, y.astype(x.dtype)),)


def _dirichlet(
    classifier: GaussianProcessClassifier, x: Array, one_hot: np.ndarray
) -> tuple[GaussianProcess, ...]:
    """A process for each class, since each has a noise of its own."""
    concentration = one_hot + classifier.epsilon
    noise = np.log1p(1 / concentration)
    targets = np.log(concentration) - noise / 2
    # What a point without any label would have is the prior mean, of equal probabilities.
    prior = float(np.mean(targets))
    processes = []
    for y, variance in zip(targets.T, noise.T, strict=True):
        process = classifier._process(variance.astype(x.dtype))
        process = dataclasses.replace(process, mean=prior)
        processes.append(process.fit(x, y.astype(x.dtype)))
    return tuple(processes)


_TARGETS = {"dirichlet": _dirichlet, "one_hot": _one_hot}
