"""Eigenvalues, capacity, alignment and cross-validation of a kernel, against plain loops."""

import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax.predict import NotPositiveDefiniteError
from ntkjax.spectrum import Spectrum, effective_dimension, eigenvalues

RNG = np.random.default_rng(0)
N = 12
X = RNG.normal(size=(N, 3))
KERNEL = np.exp(-np.sum((X[:, None] - X[None, :]) ** 2, axis=-1) / 6)
Y = RNG.normal(size=(N, 2))


def test_they_are_those_of_the_kernel_divided_by_n():
    spectrum = Spectrum(KERNEL)
    assert len(spectrum) == N
    assert np.all(np.diff(spectrum.eigenvalues) <= 0)
    made = (spectrum.eigenvectors * spectrum.eigenvalues) @ spectrum.eigenvectors.T
    np.testing.assert_allclose(made, KERNEL / N, atol=1e-15)
    np.testing.assert_allclose(eigenvalues(KERNEL), spectrum.eigenvalues, atol=1e-15)
    shown = re.findall(r"[\d.e+-]+(?=[,) ]|$)", repr(spectrum))
    rank = np.trace(KERNEL) ** 2 / np.sum(KERNEL**2)
    assert float(shown[-1]) == pytest.approx(rank, rel=5e-3)


def test_float32_keeps_its_digits_and_its_rounding():
    """Equal points: eigenvalues of zero come out negative by the rounding of float32, and pass."""
    points = np.repeat(X[:4], 3, axis=0).astype(np.float32)
    kernel = np.exp(-np.sum((points[:, None] - points[None, :]) ** 2, axis=-1) / 6)
    kernel += np.float32(2e-7) * np.sign(RNG.normal(size=(N, N))).astype(np.float32)
    kernel = (kernel + kernel.T) / 2
    for given in (kernel, jnp.asarray(kernel)):
        spectrum = Spectrum(given)
        assert spectrum.eigenvalues.dtype == np.float64
        assert np.all(spectrum.eigenvalues >= 0)
        assert np.all(spectrum.eigenvalues[4:] < 1e-6)
    with pytest.raises(NotPositiveDefiniteError):
        Spectrum(kernel.astype(np.float64))


def test_effective_dimension():
    spectrum, ridges = Spectrum(KERNEL), np.array([[0.01, 0.3], [2.0, 50.0]])
    found = spectrum.effective_dimension(ridges)
    for place in np.ndindex(2, 2):
        smoother = KERNEL @ np.linalg.inv(KERNEL + ridges[place] * np.eye(N))
        assert found[place] == pytest.approx(np.trace(smoother), rel=1e-11)
    loop = sum(value / (value + 0.3) for value in np.linalg.eigvalsh(KERNEL))
    assert spectrum.effective_dimension(0.3) == pytest.approx(loop, rel=1e-12)
    assert effective_dimension([2.0, 0.0, 1.0], 0) == 2.0
    assert effective_dimension([3.0, 1.0], [1.0, 1e300])[0] == 1.25


def test_power_and_alignment():
    spectrum = Spectrum(KERNEL)
    power = spectrum.power(Y)
    for i in range(N):
        want = np.mean([(spectrum.eigenvectors[:, i] @ y) ** 2 / N for y in Y.T])
        assert power[i] == pytest.approx(want, rel=1e-12)
    assert np.sum(power) == pytest.approx(np.mean(Y**2))
    np.testing.assert_allclose(spectrum.alignment(Y), np.cumsum(power) / np.mean(Y**2))
    first = spectrum.alignment(spectrum.eigenvectors[:, 2])
    np.testing.assert_allclose(first[[1, 2]], [0, 1], atol=1e-15)


def test_numbers_of_python_are_float64_whatever_the_setting():
    with jax.enable_x64(False):
        assert effective_dimension([1.0], 0.1) == 1 / 1.1
        assert effective_dimension([1.0], 1e300) == 1e-300


@pytest.mark.parametrize("ridge", [0.0, 0.05, 3.0])
def test_cross_validation_is_that_of_refits(ridge):
    spectrum, errors = Spectrum(KERNEL), []
    for i in range(N):
        rest = np.arange(N) != i
        matrix = KERNEL[np.ix_(rest, rest)] + ridge * np.eye(N - 1)
        errors.append(Y[i] - KERNEL[i, rest] @ np.linalg.solve(matrix, Y[rest]))
    found = spectrum.leave_one_out(Y, [ridge, 1.0])
    assert found.shape == (2,)
    assert found[0] == pytest.approx(np.mean(np.square(errors)), rel=1e-7)
    strength = ridge or 1e-9  # the limit
    left = strength * np.linalg.inv(KERNEL + strength * np.eye(N))
    want = np.mean((left @ Y) ** 2) / (np.trace(left) / N) ** 2
    assert spectrum.generalized_cross_validation(Y, ridge) == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: Spectrum(KERNEL[:3]), ValueError, r"shape \(3, 12\), expected \(n, n\)"),
        (lambda: Spectrum(np.zeros((0, 0))), ValueError, "n at least 1"),
        (lambda: Spectrum(KERNEL * np.nan), ValueError, "kernel must be finite"),
        (lambda: Spectrum(np.triu(KERNEL)), ValueError, "kernel must be symmetric"),
        (lambda: Spectrum(KERNEL - 0.5 * np.eye(N)), ValueError, "not positive semi-definite"),
        (lambda: eigenvalues(-KERNEL), NotPositiveDefiniteError, "smallest eigenvalue is -"),
        (lambda: Spectrum(1j * KERNEL), TypeError, "expected real numbers"),
        (lambda: Spectrum(None), TypeError, "kernel"),
        (lambda: Spectrum(SimpleNamespace(ntk=KERNEL)), TypeError, "pass kernel.ntk or"),
        (lambda: jax.jit(eigenvalues)(KERNEL), TypeError, "traced.*outside of jax.jit"),
        (lambda: Spectrum(KERNEL).power(Y[:3]), ValueError, r"shape \(3, 2\), expected \(12,\)"),
        (lambda: Spectrum(KERNEL).power(Y * np.inf), ValueError, "targets must be finite"),
        (
            lambda: Spectrum(KERNEL).alignment(1e200 * Y),
            ValueError,
            "squares that float64 does not",
        ),
        (lambda: Spectrum(KERNEL).alignment(0 * Y), ValueError, "targets are all zero"),
        (lambda: Spectrum(KERNEL).effective_dimension(-1.0), ValueError, "ridge must be at least"),
        (lambda: effective_dimension([[1.0]], 1.0), ValueError, r"expected \(n,\)"),
        (lambda: effective_dimension([-1.0], 1.0), ValueError, "eigenvalues must be at least 0"),
        (
            lambda: Spectrum(np.ones((3, 3))).leave_one_out(np.ones(3), 0.0),
            ValueError,
            "ridge=0 leaves the kernel singular",
        ),
    ],
)
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()
