"""Every format that the examples read, on files made here, and on real ones where present."""

import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from datasets import CIFAR10_BATCHES, load

REAL = Path(__file__).parents[3] / "shared" / "data"


def cifar10_rows(n, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 3072), np.uint8), rng.integers(0, 10, n)


def expected_images(rows):
    # The format in words: 1024 red values, then green, then blue, row by row.
    images = np.empty((len(rows), 32, 32, 3))
    for channel in range(3):
        plane = rows[:, 1024 * channel : 1024 * (channel + 1)]
        images[..., channel] = plane.reshape(-1, 32, 32) / 255
    return images


def write_pickles(folder, protocol=2):
    folder.mkdir(exist_ok=True)
    everything = []
    for seed, name in enumerate(CIFAR10_BATCHES):
        rows, labels = cifar10_rows(3, seed)
        batch = {b"data": rows, b"labels": labels.tolist(), b"batch_label": b"x"}
        (folder / name).write_bytes(pickle.dumps(batch, protocol))
        everything.append((rows, labels))
    (folder / "batches.meta").write_bytes(b"not read")
    return (np.concatenate(parts) for parts in zip(*everything, strict=True))


def write_binary(folder):
    folder.mkdir(exist_ok=True)
    everything = []
    for seed, name in enumerate(CIFAR10_BATCHES):
        rows, labels = cifar10_rows(2, seed)
        content = np.concatenate([labels[:, None].astype(np.uint8), rows], axis=1)
        (folder / f"{name}.bin").write_bytes(content.tobytes())
        everything.append((rows, labels))
    return (np.concatenate(parts) for parts in zip(*everything, strict=True))


def write_idx(path, array):
    content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content += array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def mnist_arrays(n, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 7, 5), np.uint8), rng.integers(0, 10, n).astype(np.uint8)


def assert_holds(dataset, images, labels):
    assert dataset.images.dtype == np.float32
    assert np.issubdtype(dataset.labels.dtype, np.integer)
    np.testing.assert_allclose(dataset.images, images, atol=1e-7)
    np.testing.assert_array_equal(dataset.labels, labels)


def test_digits_need_no_file():
    digits = load()
    assert digits.images.shape == (1797, 8, 8, 1)
    assert digits.images.min() == 0.0
    assert digits.images.max() == 1.0
    assert digits.class_names == tuple("0123456789")
    assert np.bincount(digits.labels).min() > 170


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_cifar10_pickles(tmp_path, protocol):
    rows, labels = write_pickles(tmp_path / "cifar-10-batches-py", protocol)
    for path in (tmp_path / "cifar-10-batches-py", tmp_path):
        dataset = load(path)
        assert_holds(dataset, expected_images(rows), labels)
        assert dataset.class_names[3] == "cat"


def test_cifar10_pickles_written_by_python_2_and_old_numpy(tmp_path):
    # What such a file looks like: the old module name, and the bytes as a latin-1 string.
    rows, _ = cifar10_rows(1, 0)
    content = (
        b"\x80\x02}q\x00(U\x04dataq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\n"
        b"q\x03K\x00\x85U\x01b\x87Rq\x04(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nq\x05U\x02u1K\x00K\x01"
        b"\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T\x00\x0c\x00\x00"
        + rows.tobytes()
        + b"tbU\x06labelsq\x06]K\x07au."
    )
    (tmp_path / "data_batch_1").write_bytes(content)
    assert_holds(load(tmp_path), expected_images(rows), [7])


@pytest.mark.parametrize("write", [write_pickles, write_binary])
def test_cifar10_archives_are_read_in_place(tmp_path, write):
    rows, labels = write(tmp_path / "batches")
    with tarfile.open(tmp_path / "cifar.tar.gz", "w:gz") as archive:
        for file in sorted((tmp_path / "batches").iterdir(), reverse=True):
            archive.add(file, arcname=f"cifar-10/{file.name}")
    assert_holds(load(tmp_path / "cifar.tar.gz"), expected_images(rows), labels)


def test_cifar10_binary(tmp_path):
    rows, labels = write_binary(tmp_path)
    assert_holds(load(tmp_path), expected_images(rows), labels)
    assert_holds(load(tmp_path / "data_batch_1.bin"), expected_images(rows[:2]), labels[:2])


def test_npz(tmp_path):
    images, labels = mnist_arrays(4, 0)
    np.savez(tmp_path / "some.npz", images=images, labels=labels)
    assert_holds(load(tmp_path / "some.npz"), images[..., None] / 255, labels)
    names = np.array([f"class {i}" for i in range(10)])
    np.savez(tmp_path / "some.npz", images=images, labels=labels, class_names=names)
    assert load(tmp_path).class_names[9] == "class 9"


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("parts", [("train",), ("t10k",), ("train", "t10k")])
def test_mnist(tmp_path, suffix, parts):
    arrays = [mnist_arrays(3, seed) for seed, _ in enumerate(parts)]
    for part, (images, labels) in zip(parts, arrays, strict=True):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte{suffix}", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte{suffix}", labels)
    images, labels = (np.concatenate(each) for each in zip(*arrays, strict=True))
    assert_holds(load(tmp_path), images[..., None] / 255, labels)
    one = load(tmp_path / f"{parts[0]}-images-idx3-ubyte{suffix}")
    assert_holds(one, images[:3, ..., None] / 255, labels[:3])


class Opens:
    """Unpickles by calling `open`, as a hostile file would call something worse."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_pickle_cannot_run_anything(tmp_path):
    batch = {b"data": Opens(str(tmp_path / "written")), b"labels": [0]}
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(batch))
    with pytest.raises(ValueError, match=r"asks for _?io\.open"):
        load(tmp_path)
    assert not (tmp_path / "written").exists()


def test_an_array_of_objects_cannot_run_anything(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.array([Opens(str(tmp_path / "written"))], object), allow_pickle=True)
    np.savez(tmp_path / "some.npz", labels=np.zeros(1))
    with pytest.raises(ValueError, match="no array images"):
        load(tmp_path / "some.npz")
    np.savez(tmp_path / "some.npz", images=np.array([None]), labels=np.zeros(1))
    with pytest.raises(ValueError, match="pickle"):
        load(tmp_path / "some.npz")


def test_errors_list_the_files_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        load(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(FileNotFoundError, match=r"data_batch_1 .*t10k-images.*Found notes\.txt"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"notes\.txt is none of the files"):
        load(tmp_path / "notes.txt")
    with tarfile.open(tmp_path / "empty.tar.gz", "w:gz"):
        pass
    with pytest.raises(FileNotFoundError, match="holds none of the CIFAR-10 files"):
        load(tmp_path / "empty.tar.gz")
    write_idx(tmp_path / "t10k-images-idx3-ubyte", mnist_arrays(2, 0)[0])
    with pytest.raises(FileNotFoundError, match="looked for t10k-labels-idx1-ubyte and t10k"):
        load(tmp_path)


def test_damaged_files_are_named(tmp_path):
    images, labels = mnist_arrays(2, 0)
    write_idx(tmp_path / "train-images-idx3-ubyte", images)
    write_idx(tmp_path / "train-labels-idx1-ubyte", labels[:1])
    with pytest.raises(ValueError, match=r"has 2 images, .* has 1 labels"):
        load(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="cut short"):
        load(tmp_path)
    path.write_bytes(b"GIF8")
    with pytest.raises(ValueError, match="begins with 47 49 46 38, expected 00 00 08 03"):
        load(tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(b"123")
    with pytest.raises(ValueError, match="3 bytes are not a multiple of 3073"):
        load(tmp_path)
    np.savez(tmp_path / "some.npz", images=images / 255, labels=labels)
    with pytest.raises(ValueError, match="must be uint8"):
        load(tmp_path / "some.npz")
    np.savez(tmp_path / "some.npz", images=images, labels=labels, class_names=["one"])
    with pytest.raises(ValueError, match="there are 1 classes"):
        load(tmp_path / "some.npz")


@pytest.mark.skipif(not (REAL / "cifar10").is_dir(), reason="needs the CIFAR-10 sample")
def test_real_cifar10():
    dataset = load(REAL / "cifar10" / "cifar10_train_1000.npz")
    assert dataset.images.shape == (1000, 32, 32, 3)
    assert np.bincount(dataset.labels).tolist() == [100] * 10
    assert dataset.class_names[0] == "airplane"


@pytest.mark.skipif(not (REAL / "mnist").is_dir(), reason="needs the MNIST files")
def test_real_mnist():
    dataset = load(REAL / "mnist")
    assert dataset.images.shape == (10_000, 28, 28, 1)
    assert dataset.labels[:5].tolist() == [7, 2, 1, 0, 4]
