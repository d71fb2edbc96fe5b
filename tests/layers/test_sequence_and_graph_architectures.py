"""The GNTK against its recursion, and a transformer against random finite networks."""

import jax
import numpy as np
import pytest

import ntkjax
from ntkjax import architectures

RNG = np.random.default_rng(0)
NODES = RNG.normal(size=(3, 4, 3))
GRAPHS = (RNG.random((3, 4, 4)) < 0.5) | np.eye(4, dtype=bool)
GRAPHS = (GRAPHS | GRAPHS.transpose(0, 2, 1)).astype(float)


def relu(cov, of_rows, of_columns):
    """E relu relu and E relu' relu' times 2, as weights of variance 2 make them."""
    product = np.sqrt(np.outer(of_rows, of_columns))
    angle = np.arccos(np.clip(cov / product, -1, 1))
    value = product / np.pi * (np.sin(angle) + (np.pi - angle) * np.cos(angle))
    return value, (np.pi - angle) / np.pi


def gntk_by_loops(blocks, layers, every):
    """NNGP and NTK of all pairs of graphs, node by node; weights of variance 2."""
    count = len(NODES)
    pairs = [(i, j) for i in range(count) for j in range(count)]
    cov = {(i, j): NODES[i] @ NODES[j].T / NODES.shape[-1] for i, j in pairs}
    ntk = {pair: 0 * cov[pair] for pair in pairs}
    nngp_total, ntk_total = np.zeros((count, count)), np.zeros((count, count))
    for block in range(blocks):
        cov, ntk = ({(i, j): GRAPHS[i] @ k[i, j] @ GRAPHS[j].T for i, j in pairs}
                    for k in (cov, ntk))  # fmt: skip
        for _ in range(layers):
            ntk = {pair: 2 * (ntk[pair] + cov[pair]) for pair in pairs}
            cov = {pair: 2 * cov[pair] for pair in pairs}
            var = [np.diag(cov[i, i]) for i in range(count)]
            made = {(i, j): relu(cov[i, j], var[i], var[j]) for i, j in pairs}
            ntk = {pair: ntk[pair] * made[pair][1] / 2 for pair in pairs}
            cov = {pair: made[pair][0] / 2 for pair in pairs}
        if every or block == blocks - 1:
            for i, j in pairs:
                nngp_total[i, j] += 2 * np.sum(cov[i, j])
                ntk_total[i, j] += 2 * np.sum(ntk[i, j] + cov[i, j])
    return nngp_total, ntk_total


@pytest.mark.parametrize(
    ("blocks", "layers", "every"), [(1, 1, False), (2, 2, False), (3, 1, True)]
)
def test_the_gntk_is_its_recursion(blocks, layers, every):
    network = architectures.gntk(blocks, layers, jumping_knowledge=every)
    found = network.kernel_fn(NODES, None, ("nngp", "ntk"), pattern=GRAPHS)
    for one, other in zip(found, gntk_by_loops(blocks, layers, every), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_transformer_is_the_limit_of_finite_ones():
    x = RNG.normal(size=(2, 4, 3))
    network = architectures.transformer(depth=1, width=128, out_dim=32)
    exact = network.kernel_fn(x, None, "nngp")
    assert network.init_fn(jax.random.key(0), x.shape)[0] == (2, 32)
    sampled = ntkjax.monte_carlo_kernel_fn(
        *network[:2], jax.random.PRNGKey(0), 60, standard_error=True
    )(x, None, "nngp")
    allowed = 4 * sampled.standard_error + 0.02 * np.max(exact)
    assert np.all(np.abs(sampled.mean - exact) < allowed)


@pytest.mark.parametrize(
    ("make", "phrase"),
    [
        (lambda: architectures.transformer(0), "transformer: depth"),
        (lambda: architectures.gntk(0), "gntk: blocks"),
        (lambda: architectures.gntk(1, 0), "gntk: layers"),
        (lambda: architectures.gntk(jumping_knowledge=2), "gntk: jumping_knowledge"),
    ],
)
def test_bad_arguments(make, phrase):
    with pytest.raises((ValueError, TypeError), match=phrase):
        make()
