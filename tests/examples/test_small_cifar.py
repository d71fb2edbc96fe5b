"""Few images of CIFAR-10: the kernel that is kept in a file, the splits, and the script."""

import numpy as np
import pytest

import small_cifar
from datasets import load
from kernels import convolutional_network
from splits import subset


@pytest.fixture
def file(tmp_path):
    """Forty digits of 4 x 4 pixels, as a file of images."""
    data = load()
    rows = subset(data.labels, 60, 0)
    images = data.images[rows].reshape(60, 4, 2, 4, 2, 1).mean((2, 4))
    path = tmp_path / "some.npz"
    np.savez(path, images=(255 * images).astype(np.uint8), labels=data.labels[rows])
    return path


def test_a_kernel_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(small_cifar, "BLOCK", 8)
    images = np.random.default_rng(0).normal(size=(20, 4, 4, 3)).astype(np.float32)
    kernel_fn = convolutional_network(1).kernel_fn
    wanted, calls = np.asarray(kernel_fn(images, None, "ntk")), []

    class Stopping:
        """Blocks of the kernel, of which the fifth never comes."""

        def __init__(self, depth):
            assert depth == 1

        @staticmethod
        def kernel_fn(x1, x2, get):
            calls.append(len(x1))
            if len(calls) == 5:
                raise KeyboardInterrupt
            return kernel_fn(x1, x2, get)

    monkeypatch.setattr(small_cifar, "convolutional_network", Stopping)
    with pytest.raises(KeyboardInterrupt):
        small_cifar.kernel_matrix(images, 1, tmp_path)
    found = small_cifar.kernel_matrix(images, 1, tmp_path)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert len(calls) == 5 + 2  # six blocks, four of them before the stop
    np.testing.assert_array_equal(small_cifar.kernel_matrix(images, 1, tmp_path), found)
    assert len(calls) == 7
    (path,) = tmp_path.glob("*.npy")
    # A file with a block that was half written: it is made again, and others are not.
    matrix = np.lib.format.open_memmap(path, mode="r+")
    matrix[9, 17] = np.nan
    matrix.flush()
    np.testing.assert_array_equal(small_cifar.kernel_matrix(images, 1, tmp_path), found)
    assert len(calls) == 8
    small_cifar.kernel_matrix(-images, 1, tmp_path)
    assert len([*tmp_path.glob("*.npy")]) == 2


def test_the_script(file, tmp_path, capsys):
    options = ["--data", str(file), "--images", "60", "--train-sizes", "10,40", "--depth", "1"]
    found = small_cifar.main([*options, "--splits", "3", "--out", str(tmp_path)])
    assert found.keys() == {small_cifar.REGRESSION, small_cifar.MACHINE}
    for accuracies in found.values():
        assert accuracies.shape == (3, 2)
        few, many = accuracies.mean(axis=0)
        assert 25 < few < many
        # Of twenty images, the same for both sizes of a split.
        np.testing.assert_allclose(accuracies % 5, 0, atol=1e-9)
    said = capsys.readouterr().out
    assert "scored on 20" in said
    assert "published ResNet" in said
    assert "published CNTK" not in said  # that has five layers
    assert (tmp_path / "small_cifar.png").stat().st_size > 10_000


def test_published_means_stand_at_their_sizes():
    found = small_cifar.published([40, 100, 640], 5)
    assert found["CNTK"][::2] == [20.83, 41.24]
    assert np.isnan(found["CNTK"][1])
    assert found["ResNet"][2] == 41.66
    assert found.keys() == {"CNTK", "ResNet"}


def test_impossible_sizes_are_refused(file, capsys):
    with pytest.raises(SystemExit, match="leaves none for tests"):
        small_cifar.main(["--data", str(file), "--images", "60", "--train-sizes", "60"])
    with pytest.raises(SystemExit, match="lower --images 90"):
        small_cifar.main(["--data", str(file), "--images", "90", "--train-sizes", "60"])
    with pytest.raises(SystemExit):
        small_cifar.main(["--data", str(file), "--splits", "1"])
    assert "2 or more" in capsys.readouterr().err
