"""`GaussianProcessClassifier`: classes with calibrated probabilities."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array

from ntkjax._gp import storage
from ntkjax._gp.arguments import (
    NOISE,
    check_bounds,
    check_values,
    count_of,
    function_of,
    like_seen,
    noise_variance,
    one_kernel,
    parameters,
    points,
    seed_of,
)
from ntkjax._gp.covariance import Covariance, covariance_of
from ntkjax._gp.fit import best_parameters, search_of
from ntkjax._gp.labels import among, classes_of
from ntkjax._gp.likelihoods import LIKELIHOODS, Learned, evidence_at, learned_of
from ntkjax._kernel.arrays import as_floats, describe


@dataclasses.dataclass(frozen=True, eq=False)
class GaussianProcessClassifier:
    r"""Classes by Gaussian processes whose covariance is the kernel of a network.

    Three likelihoods tie functions :math:`f_c \sim \mathcal{GP}(0, K)` to labels:

    - "dirichlet": each point has class probabilities with a Dirichlet posterior of concentrations
      :math:`\alpha_c = [c = y] + \epsilon`. Their unnormalised parts are Gamma variables, matched
      by log-normal ones: process c regresses on :math:`\log \alpha_c - s_c / 2` with a noise of
      variance :math:`s_c = \log(1 + 1 / \alpha_c)` that differs from point to point, and
      probabilities are the mean of the softmax of the processes. It takes a factorization for each
      class.
    - "laplace": labels have the probabilities softmax(f), and the posterior of f is replaced by the
      Gaussian at its mode that has the same curvature. Of two classes there is one function, whose
      logistic function is the probability of the second. It takes a factorization for each class
      and each of some ten steps of Newton's method, and holds a matrix for each class.
    - "one_hot": one process regresses on 1 and 0, centred, and probabilities are the shares of
      draws of the noisy targets in which a class is the largest.

    Args:
      network: as of `GaussianProcess`.
      likelihood: "dirichlet", "laplace" or "one_hot".
      noise: of "one_hot", the variance of the targets' noise.
      epsilon: of "dirichlet", the concentration of a class that was not seen: the smaller, the
        surer of its labels the classifier is. None for that of 0.001, 0.003, 0.01, ..., 1 with
        which it gives the training labels the largest probability, each given all others; `fit`
        chooses, by 500 points at most, and `concentration` says which.
      params: as of `GaussianProcess`.
      bounds: as of `GaussianProcess`, of parameters and, by "one_hot", of "noise".
      get: which kernel is the covariance, "nngp" or "ntk". Its size matters for "dirichlet" and
        "laplace": standard deviations near 3 let probabilities come near 0 and 1.

    Returns:
      A classifier to `fit`.

    Raises:
      ValueError: an argument is out of its range, or unknown.
      TypeError: `network` has no kernel.

    Source: Milios et al. 2018, arXiv 1805.10915 ("dirichlet"); Rasmussen and Williams 2006,
    *Gaussian processes for machine learning*, sections 3.4 and 3.5 ("laplace"); Lee et al. 2018,
    arXiv 1711.00165 ("one_hot").

    Example:
      >>> import numpy as np
      >>> from ntkjax import gp, stax
      >>> network = stax.serial(stax.Dense(1, 2.0, 1.0), stax.Erf(), stax.Dense(1, 3.0))
      >>> x = np.linspace(-2, 2, 12)[:, None]
      >>> classifier = gp.GaussianProcessClassifier(network).fit(x, x[:, 0] > 0)
      >>> print(classifier.predict(np.array([[-1.5], [1.5]])))
      [False  True]
      >>> by_laplace = gp.GaussianProcessClassifier(network, "laplace").fit(x, x[:, 0] > 0)
      >>> print(by_laplace.predict_proba(np.array([[-1.5], [0.0]])).round(2))
      [[0.92 0.08]
       [0.5  0.5 ]]
    """

    network: Any
    likelihood: str = "dirichlet"
    noise: float = 0.01
    epsilon: float | None = None
    params: Mapping[str, Any] | None = None
    bounds: Mapping[str, Any] | None = None
    get: str = "nngp"
    #: The log marginal likelihood after each step of `optimize`, one tuple for each start.
    history: tuple[tuple[float, ...], ...] = ()
    #: The labels of the classes, sorted.
    classes: Any = None
    _learned: Learned | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        function_of("likelihood", self.likelihood, LIKELIHOODS)
        if noise_variance(self.noise).ndim:
            raise ValueError(
                f"noise is {describe(self.noise)}, expected one variance for all targets of "
                "'one_hot': pass noise=0.01, say"
            )
        parameters(self.params)
        check_bounds(self.bounds)
        epsilon = 1.0 if self.epsilon is None else self.epsilon
        is_number = isinstance(epsilon, (int, float, np.number)) and np.isrealobj(epsilon)
        if not (is_number and 0 < epsilon < np.inf):
            raise ValueError(
                f"epsilon must be a positive number or None, got {describe(self.epsilon)}: pass "
                "None to have it chosen"
            )
        one_kernel(self.get)
        self._covariance()

    def fit(self, x: Any, labels: Any) -> "GaussianProcessClassifier":
        """Learn from labels.

        Args:
          x: training inputs `(n, ...)`.
          labels: `(n,)`, of integers, booleans or strings.

        Returns:
          The fitted classifier.

        Raises:
          NotPositiveDefiniteError: the covariance of the training points has an eigenvalue that is
            negative beyond rounding.
          ValueError: shapes do not fit, or there is one class only.
        """
        inputs = points("x", x)
        classes, one_hot = classes_of(labels, len(inputs))
        made = dataclasses.replace(self, classes=classes)
        return made._taught(inputs, as_floats("labels", one_hot, warns=False))

    def update(self, x: Any, labels: Any) -> "GaussianProcessClassifier":
        """Learn from further points; the kernel of those before is not computed again.

        By "dirichlet" and "one_hot" they add a block to each factor. By "laplace" the mode is
        sought from the one before, which takes a few factorizations.

        Args:
          x: new inputs `(m, ...)`.
          labels: `(m,)`, of the classes before.

        Returns:
          The classifier that has seen all points, as if they had come at once.

        Raises:
          ValueError: shapes do not fit, or a class is new.
        """
        learned, inputs = self._fitted("update"), points("x", x)
        if inputs.shape[1:] != learned.x.shape[1:]:
            raise ValueError(
                f"update: x has shape {inputs.shape}, and the one before {learned.x.shape}: pass "
                "points of the same kind"
            )
        one_hot = as_floats("labels", among(labels, len(inputs), self.classes), warns=False)
        return dataclasses.replace(self, _learned=learned.extended(inputs, one_hot))

    def predict_proba(self, x: Any, draws: int = 1000, seed: int = 0) -> Array:
        """The probability of each class at points.

        Args:
          x: inputs `(m, ...)`.
          draws: how many draws of the processes probabilities are the mean over. Of two classes by
            "laplace" they are integrals, and nothing is drawn.
          seed: of these.

        Returns:
          `(m, n_classes)`, in the order of `classes`; rows sum to 1.

        Raises:
          ValueError: the classifier is not fitted, or inputs do not fit.
        """
        learned = self._fitted("predict_proba")
        inputs = like_seen(points("x", x), learned.x)
        key = jax.random.key(seed_of(seed))
        return learned.probabilities(inputs, count_of("draws", draws), key)

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

    @property
    def concentration(self) -> float:
        """The epsilon of a classifier by "dirichlet", as it was passed or chosen by `fit`."""
        chosen = getattr(self._fitted("concentration"), "epsilon", None)
        if chosen is None:
            raise ValueError(f"concentration: {self.likelihood!r} has none; only 'dirichlet' has")
        return chosen

    def log_marginal_likelihood(self, params: Mapping[str, Any] | None = None) -> Array:
        r"""The log probability of the training labels, :math:`\log p(y | x)`, by "laplace".

        It is the approximation by the Gaussian at the mode. Of "dirichlet" and "one_hot" it is the
        log density of the targets that labels become, which compares kernels, but not values of
        `epsilon`, nor likelihoods.

        Args:
          params: other values of some of the parameters, of "one_hot" "noise" among them; None for
            those of the classifier. They may be traced: the value has derivatives.

        Returns:
          A scalar.

        Raises:
          ValueError: the classifier is not fitted; a name is unknown.
        """
        learned = self._fitted("log_marginal_likelihood")
        if params is None:
            return learned.log_marginal_likelihood()
        known = (*(self.params or {}), *self._noise())
        mend = "pass a parameter of the network, or of 'one_hot' 'noise'"
        check_values(params, known, mend)
        given = self.network, self.params, self.get
        return evidence_at(*given, params, learned.x, learned.data)

    def optimize(
        self,
        over: Sequence[str] | None = None,
        *,
        optimizer: Any = None,
        steps: int = 100,
        restarts: int = 0,
        seed: int = 0,
    ) -> "GaussianProcessClassifier":
        """Fit parameters to the training points, by the log marginal likelihood.

        Args:
          over: names of parameters, of "one_hot" "noise" among them; None for all that are positive
            or have bounds.
          optimizer: an optimizer of optax, such as `optax.adam(0.1)`; None for L-BFGS.
          steps: the most steps from each start.
          restarts: further starts, drawn between the bounds; the best end is taken.
          seed: of these.

        Returns:
          The fitted classifier with the best parameters that were seen. Its `history` holds the
          log marginal likelihood step by step.

        Raises:
          ValueError: the classifier is not fitted; a name is unknown; a parameter that is not
            positive has no bounds; the likelihood is nowhere finite.

        Source: Rasmussen and Williams 2006, section 5.5.1 ("laplace").
        """
        learned = self._fitted("optimize")
        search = search_of(over, self.bounds, optimizer, steps, restarts, seed)
        given = self.network, self.params, self.get
        numbers = {name: float(value) for name, value in (self.params or {}).items()}
        numbers.update({name: float(self.noise) for name in self._noise()})

        def value(values: Any, x: Array, data: Any) -> Array:
            return evidence_at(*given, values, x, data)

        data, dtype = (learned.x, learned.data), jax.tree.leaves(learned.data)[0].dtype
        what = "log marginal likelihood"
        best = best_parameters(value, data, numbers, search, dtype, len(learned.x), what)
        noise = best.values.pop(NOISE, self.noise)
        params = None if self.params is None else {**self.params, **best.values}
        made = dataclasses.replace(self, noise=noise, params=params, history=best.history)
        return made._taught(learned.x, learned.one_hot)

    def save(self, path: Any) -> None:
        """Write the fitted classifier to a file, without its network, which is code.

        Args:
          path: of the file, a NumPy archive.

        Raises:
          ValueError: the classifier is not fitted.
          TypeError: classes are no integers, booleans or strings.
        """
        learned = self._fitted("save")
        classes = np.asarray(self.classes.tolist())
        if classes.dtype.hasobject:
            raise TypeError(
                f"save: classes are {describe(self.classes.tolist())}, expected integers, booleans "
                "or strings: fit to labels of one of these types"
            )
        flags = {name: getattr(self, name) for name in ("likelihood", "get")}
        epsilon = None if self.epsilon is None else float(self.epsilon)
        flags.update({"noise": float(self.noise), "epsilon": epsilon})
        held = {**storage.numbers(self.params, self.bounds, self.history), **flags}
        arrays = {**learned.arrays(), "classes": classes}
        storage.write(path, storage.CLASSIFIER, arrays, held)

    @classmethod
    def load(cls, path: Any, network: Any) -> "GaussianProcessClassifier":
        """Read a classifier that `save` has written, by this version or an older one.

        Args:
          path: of the file.
          network: the network or function of parameters that it was made with.

        Returns:
          The fitted classifier.

        Raises:
          ValueError: the file holds none, is damaged, is of a newer format, or its kernel is
            another one.
        """
        arrays, held = storage.read(path, storage.CLASSIFIER)
        flags = {name: held[name] for name in ("likelihood", "noise", "epsilon", "get")}
        made = cls(network, **flags, **storage.options(held), classes=arrays["classes"])
        learned = learned_of(held["likelihood"], arrays, made._covariance())
        storage.check_kernel(made._covariance(), learned.x, arrays["probe"], path)
        return dataclasses.replace(made, _learned=learned)

    def _taught(self, x: Array, one_hot: Array) -> "GaussianProcessClassifier":
        learn = LIKELIHOODS[self.likelihood]
        learned = learn(self._covariance(), x, one_hot, self.noise, self.epsilon)
        return dataclasses.replace(self, _learned=learned)

    def _covariance(self) -> Covariance:
        return covariance_of(self.network, self.params, self.get)

    def _noise(self) -> tuple[str, ...]:
        """The name of the noise, where the likelihood has any."""
        return (NOISE,) if self.likelihood == "one_hot" else ()

    def _fitted(self, method: str) -> Learned:
        if self._learned is None:
            raise ValueError(f"{method}: the classifier has seen no points: call fit first")
        return self._learned
