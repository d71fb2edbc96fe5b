"""Very deep networks in float32."""

import numpy as np
import pytest

from ntkjax import stax
from tests.helpers import fast_jit


@pytest.mark.parametrize("size", [1.0, 1e-15, 1e15])
def test_relu_of_depth_500_neither_underflows_nor_overflows(size):
    """W_std = sqrt(2) keeps variances v: K tends to v of the two points, Theta to v depth / 4."""
    block = stax.serial(stax.Dense(1, 2**0.5), stax.Relu())
    network = stax.serial(stax.repeat(block, 500), stax.Dense(1, 2**0.5))
    x = np.float32(size * np.random.default_rng(0).normal(size=(4, 6)))
    kernel = fast_jit(lambda x: network.kernel_fn(x, None, ("nngp", "ntk", "cov1")))(x)
    variance = 2 * np.mean(np.square(np.float64(x)), 1)
    np.testing.assert_allclose(kernel.cov1, variance, rtol=1e-4)
    stds = np.sqrt(variance)
    cosines = np.asarray(kernel.nngp) / stds / stds[:, None]
    assert np.all(cosines > 0.99)
    assert np.all(cosines < 1 + 1e-4)
    on_diagonal = np.diagonal(kernel.ntk) / variance
    np.testing.assert_allclose(on_diagonal, 501, rtol=1e-3)
    ratio = np.asarray(kernel.ntk) / stds / stds[:, None] / 501
    far = ratio[~np.eye(4, dtype=bool)]
    assert np.all((far > 0.2) & (far < 0.3))  # 1/4 in the limit of depth
