"""What a process cannot take is refused, by an error that names the argument and the mend."""

import re

import numpy as np
import pytest
from gp_cases import X, Y, smooth

from ntkjax import stax
from ntkjax.gp import GaussianProcess, NotPositiveDefiniteError

GP = GaussianProcess
NAN = np.where(np.eye(30, 2) == 1, np.nan, Y)
FIT = GP(smooth, 0.1, params={"length": 1.0, "std": 1.0}).fit(X, Y)
BY_POINTS = GP(smooth(), np.full(30, 0.1)).fit(X, Y)


def indefinite(x1, x2=None, get=None):
    return smooth()(x1, x2, get) - 1.0


def asymmetric(x1, x2=None, get=None):
    return np.triu(smooth()(x1, x2, get)) + 1.0


#: A call, and what the error says.
WRONG = {
    "no network": (lambda: GP(3), TypeError, "network is 3, expected a triple"),
    "params give none": (lambda: GP(lambda a: a, params={"a": 1.0}), TypeError, "returns 1.0"),
    "negative noise": (lambda: GP(smooth(), -0.1), ValueError, "noise is a variance, at least 0"),
    "NaN noise": (lambda: GP(smooth(), np.nan), ValueError, "noise must be finite"),
    "shape of noise": (
        lambda: GP(smooth(), np.ones(3)).fit(X, Y), ValueError, "noise has shape (3,), expected",
    ),
    "mean": (lambda: GP(smooth(), mean=[1, 2]), ValueError, "mean is [1, 2], expected a number"),
    "shape of mean": (
        lambda: GP(smooth(), mean=lambda x: x).fit(X, Y[:, 0]), ValueError, "mean(x) has shape",
    ),
    "get": (lambda: GP(smooth(), get="cntk"), ValueError, "get must name one or more of"),
    "params": (lambda: GP(smooth, params=[1.0]), TypeError, "params is [1.0], expected numbers"),
    "noise in params": (
        lambda: GP(lambda noise: smooth(), params={"noise": 1.0}),
        ValueError, "params holds 'noise'",
    ),
    "vector in params": (
        lambda: GP(smooth, params={"std": np.ones(2)}), ValueError, "params['std'] has shape (2,)",
    ),
    "NaN in x": (lambda: GP(smooth()).fit(NAN, Y), ValueError, "x must be finite, got 2 NaN"),
    "NaN in y": (lambda: GP(smooth()).fit(X, NAN), ValueError, "y must be finite, got 2 NaN"),
    "empty": (lambda: GP(smooth()).fit(X[:0], Y[:0]), ValueError, "x has shape (0, 2)"),
    "one axis": (lambda: GP(smooth()).fit(X[:, 0], Y), ValueError, "pass x[:, None]"),
    "rows": (lambda: GP(smooth()).fit(X, Y[:9]), ValueError, "y has shape (9, 2), expected (30,)"),
    "asymmetric": (lambda: GP(asymmetric).fit(X, Y), ValueError, "kernel_fn(x) must be symmetric"),
    "indefinite": (
        lambda: GP(indefinite, 0.1).fit(X, Y),
        NotPositiveDefiniteError, "kernel_fn(x) with noise=0.1",
    ),
    "indefinite, noise by points": (
        lambda: GP(indefinite, np.full(30, 0.1)).fit(X, Y), NotPositiveDefiniteError, "would do",
    ),
    "positions": (
        lambda: GP(stax.Conv(1, (2,)).kernel_fn).fit(X[:, :, None], Y),
        ValueError, "end the network with Flatten or GlobalAvgPool",
    ),
    "unfitted": (lambda: GP(smooth()).predict(X), ValueError, "call fit(x, y) first"),
    "noisy": (lambda: BY_POINTS.predict(X, noisy=True), ValueError, "noise is given for each"),
    "update, noise": (lambda: BY_POINTS.update(X, Y), ValueError, "pass noise= for the new points"),
    "update, outputs": (lambda: FIT.update(X, Y[:, 0]), ValueError, "(30,), and those before"),
    "update, inputs": (lambda: FIT.update(X[:, :1], Y), ValueError, "pass points of the same kind"),
    "count": (lambda: FIT.sample(X, 0), ValueError, "count must be a whole number of at least 1"),
    "name": (lambda: FIT.log_marginal_likelihood({"w": 1.0}), ValueError, "params holds 'w'"),
    "over": (lambda: FIT.optimize("w"), ValueError, "expected names among 'length', 'std'"),
    "over noise by points": (lambda: BY_POINTS.optimize("noise"), ValueError, "over=('noise',)"),
    "objective": (lambda: FIT.optimize(objective="mse"), ValueError, "objective='mse', exp"),
    "steps": (lambda: FIT.optimize(steps=0), ValueError, "steps must be a whole number"),
    "unknown bounds": (
        lambda: GP(smooth(), 0.1, bounds={"w": (0, 1)}).fit(X, Y).optimize(),
        ValueError, "bounds holds 'w'",
    ),
    "order of bounds": (
        lambda: GP(smooth(), 0.1, bounds={"noise": (1, 0)}).fit(X, Y).optimize(),
        ValueError, "the lower one first",
    ),
    "outside of bounds": (
        lambda: GP(smooth(), 0.1, bounds={"noise": (1, 2)}).fit(X, Y).optimize(),
        ValueError, "noise starts at 0.1, outside of its bounds (1, 2)",
    ),
    "without bounds": (
        lambda: GP(smooth(), 0.0).fit(X, Y).optimize("noise"),
        ValueError, "pass bounds={'noise'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(WRONG))
def test_a_wrong_argument_is_named(name):
    call, kind, phrase = WRONG[name]
    with pytest.raises(kind, match=re.escape(phrase)):
        call()


@pytest.mark.parametrize("noise", [0.0, np.full(30, 0.1)], ids=["number", "by points"])
def test_the_advice_is_a_noise_that_works(noise):
    with pytest.raises(NotPositiveDefiniteError) as caught:
        GP(indefinite, noise).fit(X, Y)
    assert GP(indefinite, noise + caught.value.diag_reg).fit(X, Y).is_fitted
