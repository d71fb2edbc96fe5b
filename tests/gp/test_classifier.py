"""Classes by regression: right, with probabilities that are frequencies, and errors."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from gp_cases import smooth

from ntkjax._gp.regressions import EPSILONS
from ntkjax.gp import GaussianProcess, GaussianProcessClassifier

RNG = np.random.default_rng(0)
X = RNG.uniform(-3, 3, size=(600, 2))
#: The probability of the class "b", and labels drawn from it.
SHARE = 1 / (1 + np.exp(-3 * np.sin(X[:, 0]) - X[:, 1]))
LABELS = np.where(RNG.uniform(size=600) < SHARE, "b", "a")


@pytest.mark.parametrize(
    ("likelihood", "options"), [("dirichlet", {}), ("laplace", {}), ("one_hot", {"noise": 0.2})]
)
def test_probabilities_are_frequencies(likelihood, options):
    kernel_fn = smooth(1.5, 0.4 if likelihood == "one_hot" else 2.0)
    classifier = GaussianProcessClassifier(kernel_fn, likelihood, **options)
    classifier = classifier.fit(X[:250], LABELS[:250])
    found = np.asarray(classifier.predict_proba(X[250:]))
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    assert list(classifier.classes) == ["a", "b"]
    is_b = LABELS[250:] == "b"
    # Expected calibration error over five bins of equal counts.
    order = np.array_split(np.argsort(found[:, 1]), 5)
    gaps = [abs(found[part, 1].mean() - is_b[part].mean()) for part in order]
    assert np.mean(gaps) < 0.08
    best = np.mean(np.where(is_b, SHARE[250:] > 0.5, SHARE[250:] <= 0.5))
    assert np.mean(classifier.predict(X[250:]) == LABELS[250:]) > best - 0.04


@pytest.mark.parametrize("likelihood", ["dirichlet", "laplace"])
def test_far_from_all_points_nothing_is_known(likelihood):
    x = np.array([[-1.0, 0], [0, 1], [1, 0], [0, -1], [0.9, 0.1]])
    classifier = GaussianProcessClassifier(smooth(), likelihood).fit(x, [0, 1, 2, 1, 2])
    np.testing.assert_allclose(classifier.predict_proba(100 + x[:1]), 1 / 3, atol=0.05)
    near = classifier.predict_proba(x)
    assert list(np.argmax(near, 1)) == [0, 1, 2, 1, 2]


def test_labels_are_targets_of_regression():
    """The log marginal likelihood and the mean are those of `GaussianProcess`."""
    y = np.stack([LABELS[:30] == "a", LABELS[:30] == "b"], 1) - 0.5
    process = GaussianProcess(smooth(), 0.1).fit(X[:30], y)
    classifier = GaussianProcessClassifier(smooth(), "one_hot", noise=0.1).fit(X[:30], LABELS[:30])
    (state,) = classifier._learned.states
    mean, _ = state.predicted(jnp.asarray(X[30:40]))
    np.testing.assert_allclose(mean, process.predict(X[30:40]).mean)
    want = process.log_marginal_likelihood()
    np.testing.assert_allclose(classifier.log_marginal_likelihood(), want)
    np.testing.assert_allclose(classifier.log_marginal_likelihood({"noise": 0.1}), want)
    # Of the other likelihood, by the log-normal variables of the same mean and variance.
    classifier = GaussianProcessClassifier(smooth, epsilon=0.2, params={"length": 1.0})
    classifier = classifier.fit(X[:30], LABELS[:30])
    total = 0.0
    for target in (y + 0.5).T:
        noise = np.log(1 + 1 / (target + 0.2))
        log = np.log(target + 0.2) - noise / 2
        low = np.log(0.2) - np.log(6.0) / 2
        high = np.log(1.2) - np.log(1 + 1 / 1.2) / 2
        process = GaussianProcess(smooth(), noise, mean=(low + high) / 2).fit(X[:30], log)
        total += process.log_marginal_likelihood()
    np.testing.assert_allclose(classifier.log_marginal_likelihood(), total)
    np.testing.assert_allclose(classifier.log_marginal_likelihood({"length": 1.0}), total)


def test_epsilon_is_that_which_says_most_of_labels_left_out():
    """The choice is by what refitting without each point says of its label."""
    x, labels = X[:24], LABELS[:24]
    chosen = GaussianProcessClassifier(smooth(1.0, 2.0)).fit(x, labels)
    assert chosen.epsilon is None
    scores = {}
    for epsilon in {chosen.concentration, EPSILONS[0], EPSILONS[-1]}:
        model = GaussianProcessClassifier(smooth(1.0, 2.0), epsilon=epsilon)
        total = 0.0
        for i in range(24):
            others = np.arange(24) != i
            found = model.fit(x[others], labels[others]).predict_proba(x[i : i + 1], 4000)
            total += np.log(found[0, int(labels[i] == "b")])
        scores[epsilon] = total
    assert scores[chosen.concentration] > max(scores.values()) - 0.3
    # Labels without noise are surer.
    x = np.linspace(-3, 3, 40)[:, None]
    sure = GaussianProcessClassifier(smooth(2.0, 4.0)).fit(x, x[:, 0] > 0)
    assert sure.concentration < chosen.concentration
    assert GaussianProcessClassifier(smooth(), epsilon=0.2).fit(x, x[:, 0] > 0).concentration == 0.2


FITTED = GaussianProcessClassifier(smooth()).fit(X[:9], LABELS[:9])
#: A call, and what the error says.
WRONG = {
    "likelihood": (lambda: GaussianProcessClassifier(smooth(), "probit"), "likelihood='probit'"),
    "epsilon": (lambda: GaussianProcessClassifier(smooth(), epsilon=0), "epsilon must be"),
    "one class": (lambda: GaussianProcessClassifier(smooth()).fit(X, X[:, 0] < 9), "one class"),
    "shape": (lambda: GaussianProcessClassifier(smooth()).fit(X, LABELS[:3]), "shape (3,)"),
    "floats": (lambda: GaussianProcessClassifier(smooth()).fit(X, SHARE), "dtype float64"),
    "name": (
        lambda: FITTED.log_marginal_likelihood({"w": 1}),
        "params holds 'w'",
    ),
    "new class": (lambda: FITTED.update(X[:2], ["a", "z"]), "labels holds 'z', expected classes"),
    "other points": (lambda: FITTED.update(X[:2, :1], ["a", "b"]), "update: x has shape (2, 1)"),
    "nothing to fit": (lambda: FITTED.optimize(), "expected names among none"),
    "noise of no likelihood": (lambda: FITTED.optimize("noise"), "expected names among none"),
    "no concentration": (
        lambda: GaussianProcessClassifier(smooth(), "one_hot").fit(X[:9], LABELS[:9]).concentration,
        "'one_hot' has none",
    ),
    "labels of two types": (
        lambda: GaussianProcessClassifier(smooth()).fit(X[:2], np.array(["a", 1], object)),
        "dtype object, with int and str",
    ),
    "no labels": (
        lambda: GaussianProcessClassifier(smooth()).fit(X[:2], np.array(["a", None], object)),
        "dtype object, with NoneType and str",
    ),
    "text for epsilon": (lambda: GaussianProcessClassifier(smooth(), epsilon="a"), "epsilon must"),
    "type of likelihood": (lambda: GaussianProcessClassifier(smooth(), [1]), "likelihood=[1]"),
    "noise by points": (
        lambda: GaussianProcessClassifier(smooth(), "one_hot", noise=np.ones(9)),
        "noise is ndarray of shape (9,), expected one variance",
    ),
    "features": (lambda: FITTED.predict(X[:, :1]), "and the training points (9, 2)"),
    "indefinite": (
        lambda: GaussianProcessClassifier(lambda *x: smooth()(*x) - 9).fit(X, LABELS),
        "kernel_fn(x) with the noise of each point is not positive definite",
    ),
    "negative noise of a likelihood": (
        lambda: GaussianProcessClassifier(smooth(), "one_hot").fit(X[:9], LABELS[:9])
        .log_marginal_likelihood({"noise": -1.0}),
        "params['noise'] must be at least 0",
    ),
    "unfitted": (lambda: GaussianProcessClassifier(smooth()).predict(X), "call fit first"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(WRONG))
def test_a_wrong_argument_is_named(name):
    call, phrase = WRONG[name]
    with pytest.raises(ValueError, match=re.escape(phrase)):
        call()
