"""Means over random networks approach exact kernels at the stated rate."""

import jax
import numpy as np
import pytest

import ntkjax as nt
from ntkjax import stax

INIT, APPLY, EXACT = stax.serial(stax.Dense(128, 1.3, 0.1), stax.Relu(), stax.Dense(1, 1.2, 0.1))
RNG = np.random.default_rng(0)
X1, X2 = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 3))
KEY = jax.random.PRNGKey(0)


def test_the_error_is_what_its_standard_error_says():
    exact = EXACT(X1, X2, ("nngp", "ntk"))
    sampled = nt.monte_carlo_kernel_fn(INIT, APPLY, KEY, 400, standard_error=True)
    for found, wanted in zip(sampled(X1, X2, ("nngp", "ntk")), exact, strict=True):
        assert found.mean.shape == found.standard_error.shape == (4, 3)
        deviations = np.asarray((found.mean - wanted) / found.standard_error)
        assert np.max(np.abs(deviations)) < 4
        assert 0.2 < np.sqrt(np.mean(deviations**2)) < 2.5


def test_several_numbers_of_networks_are_an_iterator():
    one = nt.monte_carlo_kernel_fn(INIT, APPLY, KEY, [8, 1, 3, 3])(X1, X2, "ntk")
    found = dict(zip((1, 3, 8), one, strict=True))
    for n, kernel in found.items():
        alone = nt.monte_carlo_kernel_fn(INIT, APPLY, KEY, n)(X1, X2, "ntk")
        np.testing.assert_allclose(alone, kernel, rtol=1e-12)


@pytest.mark.parametrize("on_device", [True, False])
def test_batches_draw_the_same_networks(on_device):
    whole = nt.monte_carlo_kernel_fn(INIT, APPLY, KEY, 2)
    cut = nt.monte_carlo_kernel_fn(INIT, APPLY, KEY, 2, 2, store_on_device=on_device)
    for x2 in (X2, None):
        found = whole(X1, x2)
        assert type(found).__name__ == "EmpiricalKernel"  # as in neural-tangents
        for one, other in zip(found, cut(X1, x2), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-10)


def test_one_network_is_the_empirical_kernel():
    of_params, _ = jax.random.split(jax.random.split(KEY)[1])
    _, params = INIT(of_params, X1.shape)
    found = nt.monte_carlo_kernel_fn(INIT, APPLY, KEY, 1)(X1, None, "nngp")
    np.testing.assert_allclose(found, nt.empirical_nngp_fn(APPLY)(X1, None, params), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "error", "phrases"),
    [
        (lambda: nt.monte_carlo_kernel_fn(1, APPLY, KEY, 2), TypeError, ["init_fn", "serial"]),
        (lambda: nt.monte_carlo_kernel_fn(INIT, APPLY, KEY, 0), ValueError, ["n_samples=0"]),
        (lambda: nt.monte_carlo_kernel_fn(INIT, APPLY, KEY, []), ValueError, ["n_samples"]),
        (lambda: nt.monte_carlo_kernel_fn(INIT, APPLY, KEY, 1)(X1, None, "k"), ValueError, ["k"]),
    ],
)
def test_errors(make, error, phrases):
    with pytest.raises(error) as caught:
        make()
    assert all(phrase in str(caught.value) for phrase in phrases)


def test_all_networks_are_one_program():
    calls = []

    def counted(params, x, **kwargs):
        calls.append(1)
        return APPLY(params, x, **kwargs)

    sampled_fn = nt.monte_carlo_kernel_fn(INIT, counted, KEY, 5)
    sampled_fn(X1, X2, ("nngp", "ntk"))
    traced = len(calls)
    nt.monte_carlo_kernel_fn(INIT, counted, KEY, 1)(X1, X2, ("nngp", "ntk"))
    assert len(calls) == 2 * traced


def test_what_holds_no_numbers_is_told_by_its_layer():
    with pytest.raises(TypeError, match="dtype <U1, expected real numbers"):
        nt.monte_carlo_kernel_fn(INIT, APPLY, KEY, 2)(np.full((2, 3), "a"), None, "ntk")
