"""Real images as arrays: scikit-learn's bundled digits, CIFAR-10 files and MNIST files.

Nothing is downloaded. `load(path)` looks at what lies at `path` and reads one of

- nothing (`path=None`): the 1,797 handwritten digits that come with scikit-learn, 8 x 8, grey;
- an `.npz` file with `images` (n, height, width[, channels]) uint8 and `labels` (n,),
  optionally `class_names`;
- CIFAR-10 for Python: the folder `cifar-10-batches-py`, or `cifar-10-python.tar.gz` unopened;
- CIFAR-10 binary: the folder `cifar-10-batches-bin`, one of its `.bin` files, or the `.tar.gz`;
- MNIST: a folder with IDX files, gzipped or not, `train-...`, `t10k-...` or both, or one such
  file of images beside its file of labels. Anything in that format is read alike (Fashion-MNIST).

CIFAR-10: https://www.cs.toronto.edu/~kriz/cifar.html. IDX: http://yann.lecun.com/exdb/mnist.
"""

import codecs
import gzip
import io
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CIFAR10_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
MNIST_PARTS = ("train", "t10k")


class Dataset(NamedTuple):
    """Images with values in [0, 1], shape (n, height, width, channels), float32, and classes."""

    name: str
    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]


def load(path: str | Path | None = None) -> Dataset:
    """Read the data set at `path`; None stands for scikit-learn's digits.

    Raises:
        FileNotFoundError: nothing at `path`, or none of the files that could be read; the message
            lists the names that were looked for.
        ValueError: a file that is there does not hold what its format promises.
    """
    if path is None:
        return _digits()
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {path}.")
    if path.is_dir():
        return _folder(path)
    if path.name.endswith(".npz"):
        return _npz(path)
    if path.name.endswith((".tar.gz", ".tgz")):
        return _cifar10_archive(path)
    if path.suffix == ".bin":
        return _cifar10("CIFAR-10", [_binary_batch(path.read_bytes(), str(path))])
    if "images" in path.name and "ubyte" in path.name:
        return _mnist([_mnist_pair(path, _labels_beside(path))])
    raise FileNotFoundError(
        f"{path} is none of the files that can be read: *.npz, cifar-10-python.tar.gz, "
        f"cifar-10-binary.tar.gz, *.bin (CIFAR-10), *images*ubyte[.gz] (MNIST)."
    )


# ---- bundled with scikit-learn


def _digits() -> Dataset:
    # Imported here, so that the other formats are readable without scikit-learn.
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = (bunch.images / 16).astype(np.float32)[..., None]
    return Dataset("scikit-learn digits", images, bunch.target.astype(int), _digit_names())


def _digit_names() -> tuple[str, ...]:
    return tuple(str(digit) for digit in range(10))


# ---- .npz


def _npz(path: Path) -> Dataset:
    with np.load(path, allow_pickle=False) as arrays:
        missing = [key for key in ("images", "labels") if key not in arrays]
        if missing:
            raise ValueError(
                f"{path} has no array {' and no array '.join(missing)}; it has "
                f"{', '.join(arrays.files) or 'none'}."
            )
        images, labels = arrays["images"], arrays["labels"]
        class_names = arrays.get("class_names")
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise ValueError(
            f"{path}: images must be uint8 of shape (n, height, width[, channels]), got "
            f"{images.dtype} of shape {images.shape}."
        )
    if class_names is None:
        class_names = np.arange(labels.max(initial=0) + 1)
    names = tuple(str(name) for name in class_names)
    return _dataset(path.stem, images, labels, names, source=str(path))


# ---- CIFAR-10


def _cifar10(name: str, batches: list[tuple[np.ndarray, np.ndarray]]) -> Dataset:
    rows = np.concatenate([rows for rows, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    # Each row is the red, then the green, then the blue plane.
    images = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return _dataset(name, images, labels, CIFAR10_CLASSES, source=name)


def _cifar10_archive(path: Path) -> Dataset:
    """The batches of a .tar.gz, read in place: nothing is unpacked to disk."""
    batches = []
    with tarfile.open(path) as archive:
        for member in archive:
            name = PurePosixPath(member.name).name
            read = _cifar10_reader(name)
            file = archive.extractfile(member) if read and member.isfile() else None
            if read and file:
                batches.append((name, read(file.read(), f"{path}:{member.name}")))
    if not batches:
        raise FileNotFoundError(f"{path} holds none of the CIFAR-10 files {_cifar10_file_names()}.")
    return _cifar10("CIFAR-10", [batch for _, batch in sorted(batches, key=lambda b: b[0])])


def _cifar10_reader(name: str) -> Callable[[bytes, str], tuple[np.ndarray, np.ndarray]] | None:
    if name in CIFAR10_BATCHES:
        return _pickled_batch
    if name in {f"{batch}.bin" for batch in CIFAR10_BATCHES}:
        return _binary_batch
    return None


def _cifar10_file_names() -> str:
    return "data_batch_1 ... data_batch_5, test_batch (pickles, or with .bin the binary version)"


def _pickled_batch(content: bytes, source: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        batch = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
    except (pickle.UnpicklingError, EOFError, IndexError, KeyError, AttributeError) as error:
        raise ValueError(f"{source} is not a CIFAR-10 batch: {error}.") from error
    if not isinstance(batch, dict) or not {b"data", b"labels"} <= batch.keys():
        raise ValueError(f"{source} is not a CIFAR-10 batch: no b'data' and b'labels' in it.")
    rows, labels = batch[b"data"], np.asarray(batch[b"labels"])
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.shape[1:] != (3072,):
        raise ValueError(f"{source} is not a CIFAR-10 batch: b'data' is not (n, 3072) uint8.")
    return rows, labels


# What rebuilds an array when it is unpickled; NumPy keeps it in different modules over time.
_RECONSTRUCT: Any = np.empty(0).__reduce__()[0]
_FROM_BUFFER: Any = np.empty(0).__reduce_ex__(5)[0]


_UNPICKLES = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    # How Python 3 writes the bytes of an array in protocol 2.
    ("_codecs", "encode"): codecs.encode,
}


class _ArraysOnly(pickle.Unpickler):
    """Unpickles arrays, bytes, numbers, lists and dicts; a pickle can name nothing else to run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _UNPICKLES:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not an array")
        return _UNPICKLES[module, name]


def _binary_batch(content: bytes, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of one byte of label and 3,072 bytes of image."""
    if not content or len(content) % 3073:
        raise ValueError(
            f"{source} is not a CIFAR-10 binary batch: its {len(content)} bytes are not a "
            f"multiple of 3073."
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, 3073)
    return rows[:, 1:], rows[:, 0]


# ---- MNIST


def _mnist(parts: list[tuple[np.ndarray, np.ndarray]]) -> Dataset:
    images = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    return _dataset("MNIST", images, labels, _digit_names(), source="MNIST")


def _mnist_pair(images_file: Path, labels_file: Path) -> tuple[np.ndarray, np.ndarray]:
    images, labels = _idx(images_file, ndim=3), _idx(labels_file, ndim=1)
    if len(images) != len(labels):
        raise ValueError(
            f"{images_file} has {len(images)} images, {labels_file} has {len(labels)} labels."
        )
    return images, labels


def _labels_beside(images_file: Path) -> Path:
    stem = images_file.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    candidates = [images_file.with_name(stem), images_file.with_name(stem + ".gz")]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise FileNotFoundError(
        f"There are no labels beside {images_file}: looked for "
        f"{' and '.join(candidate.name for candidate in candidates)}."
    )


def _idx(path: Path, ndim: int) -> np.ndarray:
    """An IDX file of bytes: 0, 0, 8 (for uint8), number of axes, big-endian sizes, values."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if content[:4] != bytes([0, 0, 8, ndim]):
        raise ValueError(
            f"{path} is not an IDX file of uint8 with {ndim} axes: it begins with "
            f"{content[:4].hex(' ') or 'nothing'}, expected 00 00 08 {ndim:02x}."
        )
    start = 4 + 4 * ndim
    shape = struct.unpack(f">{ndim}I", content[4:start]) if len(content) >= start else (-1,)
    if len(content) - start != np.prod(shape):
        raise ValueError(f"{path} is cut short or damaged: its size does not match its header.")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


# ---- folders


def _folder(path: Path) -> Dataset:
    """The first format of which `path`, or the usual folder inside it, holds a file."""
    for folder in (path, path / "cifar-10-batches-py", path / "cifar-10-batches-bin"):
        batches = [
            read(file.read_bytes(), str(file))
            for name in CIFAR10_BATCHES
            for file in (folder / name, folder / f"{name}.bin")
            if file.is_file() and (read := _cifar10_reader(file.name))
        ]
        if batches:
            return _cifar10("CIFAR-10", batches)
    for folder in (path, path / "raw", path / "MNIST" / "raw"):
        parts = [file for part in MNIST_PARTS if (file := _mnist_images(folder, part))]
        if parts:
            return _mnist([_mnist_pair(file, _labels_beside(file)) for file in parts])
    archives = sorted(path.glob("*.npz"))
    if len(archives) == 1:
        return _npz(archives[0])
    found = ", ".join(sorted(entry.name for entry in path.iterdir())[:8]) or "nothing"
    raise FileNotFoundError(
        f"No images that can be read in {path}. Looked for {_cifar10_file_names()}; "
        f"train-images-idx3-ubyte[.gz], t10k-images-idx3-ubyte[.gz] (MNIST); one .npz file. "
        f"Found {found}."
    )


def _mnist_images(folder: Path, part: str) -> Path | None:
    # Some mirrors write a dot for the second dash.
    for name in (f"{part}-images-idx3-ubyte", f"{part}-images.idx3-ubyte"):
        for file in (folder / name, folder / f"{name}.gz"):
            if file.is_file():
                return file
    return None


# ---- common


def _dataset(
    name: str, images: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...], source: str
) -> Dataset:
    if images.ndim == 3:
        images = images[..., None]
    labels = labels.astype(int)
    if len(images) == 0 or labels.shape != (len(images),):
        raise ValueError(
            f"{source}: expected one label for each image, got images of shape {images.shape} "
            f"and labels of shape {labels.shape}."
        )
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise ValueError(
            f"{source}: labels run from {labels.min()} to {labels.max()}, "
            f"but there are {len(class_names)} classes."
        )
    return Dataset(name, images.astype(np.float32) / np.float32(255), labels, class_names)
