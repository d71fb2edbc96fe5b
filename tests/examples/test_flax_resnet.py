"""Empirical kernels of a network that flax made."""

import jax
import numpy as np
import pytest

pytest.importorskip("flax")

import flax_resnet


@pytest.fixture(autouse=True)
def permissive():
    """Flax depends on promotion that the tests of the library itself forbid."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def test_kernels_of_flax(tmp_path):
    arguments = ["--width", "4", "--train", "30", "--test", "20", "--out", str(tmp_path)]
    distances, scores = flax_resnet.main(arguments)
    assert 0 < distances[-1] < distances[0]
    assert max(scores) > 0.3  # chance: 0.1
    assert (tmp_path / "flax_resnet.png").stat().st_size > 10_000


def test_widths_are_even(capsys, monkeypatch, tmp_path):
    """Of the norms' two groups; smaller networks have even widths, too."""
    with pytest.raises(SystemExit):
        flax_resnet.main(["--width", "5"])
    assert "5 is odd" in capsys.readouterr().err
    widths = []

    def kernels(width, images, seeds):
        widths.append(width)
        return np.stack([np.eye(len(images)), 2 * np.eye(len(images))])

    monkeypatch.setattr(flax_resnet, "kernels", kernels)
    arguments = ["--width", "12", "--train", "20", "--test", "10", "--out", str(tmp_path)]
    flax_resnet.main(arguments)
    assert widths == [2, 6, 12]


def test_the_kernel_is_that_of_gradients():
    images, _ = flax_resnet.digits(2, 0)
    (kernel,) = flax_resnet.kernels(2, images, [0])
    model = flax_resnet.ResNet(2)
    params = model.init(jax.random.key(0), images[:1])
    rows = jax.jacrev(lambda p: model.apply(p, images))(params)
    flat = np.concatenate([np.asarray(g).reshape(2, 10, -1) for g in jax.tree.leaves(rows)], -1)
    np.testing.assert_allclose(kernel, np.einsum("iak,jak->ij", flat, flat) / 10, rtol=1e-4)
