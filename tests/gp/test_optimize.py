"""Hyperparameters: gradients, the best of a grid, bounds, other optimizers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gp_cases import X, Y, smooth

from ntkjax import config, stax
from ntkjax._gp.bounds import Box
from ntkjax._gp.losses import OBJECTIVES
from ntkjax._solve.regularizer import shifted
from ntkjax.gp import GaussianProcess, GaussianProcessClassifier

START = {"length": 3.0, "std": 0.5}


@pytest.fixture(autouse=True)
def silent():
    """Without progress bars."""
    with config.set(progress=False):
        yield


def process(noise=0.3, **options):
    return GaussianProcess(smooth, noise, params=START, **options).fit(X, Y)


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_gradients_equal_finite_differences(objective):
    right = Y - Y.mean(0)

    def value(numbers):
        length, std, noise = numbers
        return OBJECTIVES[objective](shifted(smooth(length, std)(X), noise), right)

    at = jnp.array([0.8, 1.1, 0.2])
    slope = jax.jit(jax.grad(value))(at)
    for i, one in enumerate(slope):
        ahead, behind = (value(at.at[i].add(step)) for step in (1e-5, -1e-5))
        np.testing.assert_allclose(one, (ahead - behind) / 2e-5, rtol=1e-6)


def test_gradients_of_a_network_equal_finite_differences():
    def network(W_std, slope):
        layers = stax.Dense(1, W_std, 0.3), stax.LeakyRelu(slope), stax.Dense(1, W_std)
        return stax.serial(*layers)

    params = {"W_std": 1.4, "slope": 0.2}
    fitted = GaussianProcess(network, 0.1, params=params).fit(X, Y)
    value = jax.jit(fitted.log_marginal_likelihood)
    np.testing.assert_allclose(value({}), fitted.log_marginal_likelihood(), rtol=1e-10)
    at = {**params, "noise": 0.2}
    slopes = jax.jit(jax.grad(fitted.log_marginal_likelihood))(at)
    value(at)
    for name, slope in slopes.items():
        ahead, behind = (value({**at, name: at[name] + step}) for step in (1e-5, -1e-5))
        np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-6)


def test_it_reaches_the_best_of_a_grid():
    bounds = {"length": (0.1, 10), "std": (0.1, 10), "noise": (1e-3, 1)}
    best = process(bounds=bounds).optimize()
    value = jax.jit(process().log_marginal_likelihood)
    grid = [
        value({"length": length, "std": std, "noise": noise})
        for length in np.geomspace(0.1, 10, 10)
        for std in np.geomspace(0.1, 10, 10)
        for noise in np.geomspace(1e-3, 1, 10)
    ]
    assert best.log_marginal_likelihood() >= max(grid)
    assert best.log_marginal_likelihood() > process().log_marginal_likelihood() + 10
    # What it returns is fitted with what it found, and the history ends there.
    np.testing.assert_allclose(best.history[0][-1], best.log_marginal_likelihood(), rtol=1e-9)
    found = {**best.params, "noise": best.noise}
    np.testing.assert_allclose(process().log_marginal_likelihood(found), best.history[0][-1])
    slope = jax.grad(process().log_marginal_likelihood)(found)
    assert all(abs(slope[name] * found[name]) < 0.02 for name in found)


def test_any_optimizer_of_optax_will_do():
    start, best = process(), process().optimize()
    own = start.optimize(optimizer=optax.lbfgs(), steps=40)
    values = [one.log_marginal_likelihood() for one in (own, best)]
    np.testing.assert_allclose(*values, rtol=1e-6)
    small = start.optimize(optimizer=optax.adam(0.02), steps=10)
    assert len(small.history[0]) == 11
    assert small.log_marginal_likelihood() > start.log_marginal_likelihood() + 1
    assert small.history[0][-1] == max(small.history[0])


def test_leaving_one_out_is_its_own_objective():
    by_points = process().optimize(objective="leave_one_out")
    by_likelihood = process().optimize()

    def judged(fitted):
        mean, variance = fitted.leave_one_out()
        return -0.5 * np.sum((Y - mean) ** 2 / variance + np.log(2 * np.pi * variance))

    np.testing.assert_allclose(judged(by_points), by_points.history[0][-1], rtol=1e-9)
    assert judged(by_points) > judged(by_likelihood) + 1e-3


def test_what_is_not_named_stays_and_bounds_hold():
    best = process(bounds={"length": (2.0, 4.0)}).optimize("length")
    assert best.params["std"] == START["std"]
    assert best.noise == 0.3
    # The best length for that std is above the bound.
    np.testing.assert_allclose(best.params["length"], 4.0, rtol=1e-3)
    np.testing.assert_allclose(process().optimize(["noise"]).params["length"], 3.0)


def test_noise_by_points_is_known_unless_its_factor_is_named():
    noise = np.linspace(0.01, 0.2, 30)
    fitted = process(noise)
    assert fitted.optimize(steps=2).noise is noise
    best = fitted.optimize(["length", "std", "noise_factor"])
    factor = best.noise[0] / noise[0]
    np.testing.assert_allclose(best.noise, factor * noise)
    np.testing.assert_allclose(best.history[0][-1], best.log_marginal_likelihood(), rtol=1e-9)
    at = {**best.params, "noise_factor": factor}
    slope = jax.grad(fitted.log_marginal_likelihood)(at)["noise_factor"]
    assert abs(slope * factor) < 0.02
    assert abs(factor - 1) > 0.02
    within = process(noise, bounds={"noise_factor": (0.9, 1.1)}).optimize(steps=3)
    assert 0.9 <= within.noise[0] / noise[0] <= 1.1


@pytest.mark.parametrize("likelihood", ["dirichlet", "laplace", "one_hot"])
def test_a_classifier_climbs_to_where_its_slopes_vanish(likelihood):
    noisy = X + np.random.default_rng(2).normal(size=X.shape)
    labels = (noisy[:, 0] > 0) + 1 * (noisy[:, 1] > 0.5)
    bounds = {"std": (0.1, 10.0)}
    start = GaussianProcessClassifier(smooth, likelihood, 0.3, params=START, bounds=bounds)
    start = start.fit(X, labels)
    best = start.optimize()
    np.testing.assert_allclose(best.history[0][-1], best.log_marginal_likelihood(), rtol=1e-8)
    assert best.history[0][-1] > best.history[0][0] + 0.5
    found = {**best.params, **({"noise": best.noise} if likelihood == "one_hot" else {})}
    slopes = jax.grad(best.log_marginal_likelihood)(found)
    assert all(abs(slopes[name] * found[name]) < 0.02 for name in found)
    assert start.optimize("length", steps=1).params["std"] == START["std"]


def test_restarts_find_what_one_start_does_not():
    """A wiggle of many periods, of which a start at a long length sees noise alone."""
    x = np.linspace(0, 1, 40)[:, None]
    y = np.sin(40 * x[:, 0])
    bounds = {"length": (0.005, 50.0), "noise": (1e-3, 10.0)}
    fitted = GaussianProcess(smooth, 1.0, params={"length": 40.0, "std": 1.0}, bounds=bounds).fit(
        x, y
    )
    stuck = fitted.optimize(["length", "noise"])
    found = fitted.optimize(["length", "noise"], restarts=4)
    assert len(found.history) == 5
    assert found.log_marginal_likelihood() > stuck.log_marginal_likelihood() + 10


def test_a_covariance_that_is_singular_on_the_way_is_no_end():
    """Lengths that make all points equal, from a noise of next to nothing."""
    fitted = GaussianProcess(
        smooth, 1e-15, params={"length": 1e3, "std": 1.0},
        bounds={"length": (0.1, 1e3), "noise": (1e-15, 1.0)},
    ).fit(X, Y)  # fmt: skip
    assert fitted.report().method != "cholesky"
    best = fitted.optimize(["length", "noise"])
    assert np.isfinite(best.history[0]).all()
    assert best.history[0][0] < -1e6
    assert best.log_marginal_likelihood() > -100
    assert best.report().method == "cholesky"


def test_numbers_between_bounds():
    box = Box({"a": 1.0, "b": 0.0}, {"a": (0.1, 10.0), "b": (-1.0, 3.0)})
    np.testing.assert_allclose(box.start, [0.0, np.arcsin(-0.5)], atol=1e-12)
    for free, a, b in ((-np.pi / 2, 0.1, -1.0), (0.0, 1.0, 1.0), (np.pi / 2, 10.0, 3.0)):
        values = box.values(jnp.full(2, free))
        np.testing.assert_allclose([values["a"], values["b"]], [a, b], rtol=1e-12)
    draws = np.array(box.draws(400, 0))
    logs = np.log10(box.values(jnp.asarray(draws[:, 0]).repeat(1)[:2])["a"])
    assert -1 <= logs <= 1
    assert abs(np.mean(np.sin(draws))) < 0.1
