"""Early stopping against a scan of all steps, and its risk against the errors that it predicts."""

import numpy as np
import pytest

from ntkjax.predict import gradient_descent_mse, gradient_descent_mse_steps, max_learning_rate
from ntkjax.spectrum import Spectrum, stopping_steps, stopping_time

RNG = np.random.default_rng(0)
N, NOISE = 20, 0.2
X = np.linspace(-1, 1, N)
KERNEL = np.exp(-3 * (X[:, None] - X[None, :]) ** 2) + 0.01 * np.eye(N)
FUNCTION = np.stack([np.sin(3 * X), np.cos(2 * X)], axis=1)
Y = FUNCTION + NOISE**0.5 * RNG.normal(size=(N, 2))
SPECTRUM = Spectrum(KERNEL)


def risk_of(smoother, y):
    """Mallows' risk of outputs `smoother @ y`."""
    fit = np.mean((y - smoother @ y) ** 2)
    return fit + NOISE * (2 * np.trace(smoother) / len(y) - 1)


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_it_is_the_best_of_all_steps(momentum):
    rate = 0.3 * float(max_learning_rate(KERNEL, Y.size, momentum))
    stop = stopping_steps(SPECTRUM, Y, NOISE, rate, momentum)
    smoother, velocity, risks = np.zeros((N, N)), np.zeros((N, N)), []
    for _ in range(3000):
        risks.append(risk_of(smoother, Y))
        velocity = momentum * velocity + KERNEL @ (smoother - np.eye(N)) / Y.size
        smoother = smoother - rate * velocity
    assert isinstance(stop.when, int)
    assert stop.when == int(np.argmin(risks))
    assert stop.risk == pytest.approx(min(risks), rel=1e-9)
    assert stop.risk_at_start == pytest.approx(risks[0])
    # At the end all targets are fitted, noise and all.
    assert stop.risk_at_end == pytest.approx(NOISE)
    early = stop.times < 3000
    want = np.array(risks)[stop.times[early].astype(int)]
    np.testing.assert_allclose(stop.risks[early], want, rtol=1e-9)
    # What it returns is what `predict_fn` takes.
    fit = gradient_descent_mse_steps(KERNEL, Y, rate, momentum)(stop.when)
    assert np.mean((fit - FUNCTION) ** 2) < 0.3 * NOISE


def test_the_time_is_the_best_of_the_flow():
    stop = stopping_time(SPECTRUM, Y, NOISE, learning_rate=0.5)
    predict_fn = gradient_descent_mse(KERNEL, Y, learning_rate=0.5)
    unit = gradient_descent_mse(KERNEL, np.eye(N), learning_rate=0.5 * N / 2)
    times = stop.when * np.array([0.99, 1.0, 1.01])
    fits, smoothers = predict_fn(times), unit(times)
    risks = [risk_of(smoother, Y) for smoother in np.asarray(smoothers)]
    np.testing.assert_allclose(smoothers @ Y, fits, atol=1e-12)
    assert risks[1] == pytest.approx(stop.risk, rel=1e-9)
    assert risks[1] < min(risks[0], risks[2])


def test_its_risk_is_the_mean_error():
    """Over draws of the noise, at all times at once: within 4 standard errors."""
    draws = [FUNCTION + NOISE**0.5 * RNG.normal(size=(N, 2)) for _ in range(200)]
    stops = [stopping_time(SPECTRUM, y, NOISE) for y in draws]
    predicted = np.array([stop.risks for stop in stops])
    times = stops[0].times
    left = np.exp(-times[:, None] * N * SPECTRUM.eigenvalues / Y.size)
    true = left**2 @ SPECTRUM.power(FUNCTION) + NOISE * np.mean((1 - left) ** 2, axis=1)
    gap = np.abs(predicted.mean(axis=0) - true)
    assert np.all(gap <= 4 * predicted.std(axis=0) / len(draws) ** 0.5 + 1e-12)


def test_without_noise_training_goes_on():
    assert stopping_time(SPECTRUM, FUNCTION, 0.0).when == np.inf
    assert stopping_steps(SPECTRUM, FUNCTION, 0.0, 0.1).when == np.inf
    nothing = stopping_time(Spectrum(np.zeros((2, 2))), np.ones(2), 0.1)
    assert nothing.risk == nothing.risk_at_start == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: stopping_time(KERNEL, Y, NOISE), TypeError, "expected a Spectrum"),
        (lambda: stopping_time(SPECTRUM, Y[:3], NOISE), ValueError, "targets have shape"),
        (lambda: stopping_time(SPECTRUM, Y, -1.0), ValueError, "noise must be finite"),
        (lambda: stopping_time(SPECTRUM, Y, NOISE, 0.0), ValueError, "learning_rate must be above"),
        (lambda: stopping_steps(SPECTRUM, Y, NOISE, 1e3), ValueError, "diverges.*below"),
        (lambda: stopping_steps(SPECTRUM, Y, NOISE, 0.1, 1.0), ValueError, "momentum must be"),
    ],
)
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()
