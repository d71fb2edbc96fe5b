"""The prior in the basis of modes, cut into bands."""

import numpy as np
import pytest

from ntkjax._inference import modal_prior


@pytest.mark.parametrize("count", [1, 5, 11])
def test_bands_add_up_to_the_whole(count, monkeypatch):
    monkeypatch.setattr(modal_prior, "_BAND", 2)
    monkeypatch.setattr(modal_prior, "_MOST", 3)
    r = np.random.default_rng(count)
    root, vectors = r.normal(size=(2, count, count))
    weights, prior = r.normal(size=(count, 3)), root @ root.T
    bands = modal_prior.lower_bands(prior, vectors)
    assert len(bands) == {1: 1, 5: 2, 11: 3}[count]
    assert [b.shape[0] for b in bands][:1] == [count // len(bands)]
    wanted = weights.T @ vectors.T @ prior @ vectors @ weights
    np.testing.assert_allclose(modal_prior.between(bands, weights), wanted, rtol=1e-12)
