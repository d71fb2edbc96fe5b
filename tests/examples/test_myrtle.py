"""The Myrtle kernel on digits and on files of images."""

import numpy as np

import myrtle


def test_digits(tmp_path):
    found = myrtle.main(["--train-sizes", "10,20", "--test-size", "30", "--out", str(tmp_path)])
    assert set(map(len, found.values())) == {2}
    assert found[myrtle.MYRTLE][-1] > 0.4
    assert (tmp_path / "myrtle.png").stat().st_size > 10_000


def test_larger_images_are_shrunk(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "some.npz"
    images, labels = rng.integers(0, 256, (30, 32, 32, 3), dtype=np.uint8), np.arange(30) % 3
    np.savez(path, images=images, labels=labels)
    found, kinds, name = myrtle.images_of(path, 16, 12, 0)
    assert (found.shape, name) == ((12, 16, 16, 3), "some")
    assert sorted(kinds) == [0] * 4 + [1] * 4 + [2] * 4


def test_nothing_is_cut_off_images_of_other_sizes():
    images = np.random.default_rng(0).normal(size=(2, 28, 32, 1))
    repeated = images.repeat(8, 1)  # 224 rows, of which 28 are a part
    wanted = repeated.reshape(2, 8, 28, 8, 4, 1).mean((2, 4))
    np.testing.assert_allclose(myrtle.averaged(images, 8), wanted)
