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


def of_two_kernels(x1, x2=None, get=None):
    """Three times as large between batches as within one."""
    return smooth()(x1, x2, get) * (1.0 if x2 is None else 3.0)


def in_python(length):
    """A network that computes with its parameter outside of JAX."""
    return smooth(float(length))


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
    "params of no function": (
        lambda: GP(stax.serial(stax.Dense(1)), params={"W_std": 1.0}),
        TypeError, "expected a function of params, 'W_std'",
    ),
    "params that it does not take": (
        lambda: GP(smooth, params={"W_std": 1.0}), TypeError, "is no function of params, 'W_std'",
    ),
    "kernel_fn of one argument": (
        lambda: GP(lambda x: x), TypeError, "kernel_fn is no function of x1, x2 and get",
    ),
    "two kernels": (
        lambda: GP(smooth(), get=("nngp",)), TypeError, "expected the name of one kernel",
    ),
    "flag": (lambda: GP(smooth(), standardize_x="no"), TypeError, "standardize_x is 'no'"),
    "flag of predict": (lambda: FIT.predict(X, covariance="yes"), TypeError, "covariance is 'yes'"),
    "features": (
        lambda: FIT.predict(X[:, :1]), ValueError, "x has shape (30, 1), and the training points",
    ),
    "features of a sample": (
        lambda: FIT.sample(X[:, :1], prior=True), ValueError, "and the training points (30, 2)",
    ),
    "seed": (lambda: FIT.sample(X, seed=2**32), ValueError, "seed must be below 2**32"),
    "kernels that do not fit": (
        lambda: GP(of_two_kernels, 0.1).fit(X, Y).predict(X + 0.1),
        ValueError, "do not belong to one kernel: they make the variance of test point",
    ),
    "covariance of such": (
        lambda: GP(of_two_kernels, 0.1).fit(X, Y).predict(X + 0.1, covariance=True),
        ValueError, "do not belong to one kernel",
    ),
    "zero": (
        lambda: GP(lambda x1, x2, get: 0 * smooth()(x1, x2), 0.0).fit(X, Y),
        NotPositiveDefiniteError, "its largest 0",
    ),
    "negative noise of a likelihood": (
        lambda: FIT.log_marginal_likelihood({"noise": -1.0}),
        ValueError, "params['noise'] must be at least 0, got -1",
    ),
    "vector of a likelihood": (
        lambda: FIT.log_marginal_likelihood({"std": np.ones(2)}),
        ValueError, "params['std'] has shape (2,)",
    ),
    "list of a likelihood": (
        lambda: FIT.log_marginal_likelihood([1.0]), TypeError, "params is [1.0], expected numbers",
    ),
    "indefinite at other values": (
        lambda: GP(lambda a: lambda *x: smooth()(*x) - a, 0.1, params={"a": 0.0}).fit(X, Y)
        .log_marginal_likelihood({"a": 1.0}),
        NotPositiveDefiniteError, "kernel_fn(x) with noise",
    ),
    "type of over": (lambda: FIT.optimize(3), TypeError, "over is 3, expected names"),
    "type of objective": (lambda: FIT.optimize(objective=[1]), ValueError, "objective=[1]"),
    "optimizer": (lambda: FIT.optimize(optimizer="adam"), TypeError, "optimizer is 'adam'"),
    "in Python": (
        lambda: GP(in_python, 0.1, params={"length": 1.0}).fit(X, Y).optimize(),
        TypeError, "network makes Python or NumPy numbers of its parameters",
    ),
    "type of bounds": (lambda: GP(smooth(), bounds=[(0, 1)]), TypeError, "expected pairs by name"),
    "text in bounds": (
        lambda: GP(smooth(), bounds={"noise": ("a", "b")}), ValueError, "bounds['noise'] is (",
    ),
    "bounds that nobody searches": (
        lambda: GP(smooth(), bounds={"noise": (1, 0)}), ValueError, "the lower one first",
    ),
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


@pytest.mark.parametrize("objective", ["marginal_likelihood", "leave_one_out"])
def test_a_fit_stays_where_the_kernel_is_one(objective):
    """Less than a constant, a kernel fits targets without their mean ever better, and is none."""

    def network(a):
        return lambda x1, x2=None, get=None: smooth(3.0)(x1, x2, get) - a

    start = GP(network, 0.1, params={"a": 1e-3}, bounds={"a": (0.0, 9.0)})
    centred = Y[:, 0] - np.mean(Y[:, 0])
    found = start.fit(X, centred).optimize("a", objective)
    assert found.is_fitted
    assert np.isfinite(found.history).all()
