"""Kernels of pairs of rows, each computed once for a network in the whole process.

Cross-validation asks for the kernel of the same rows again and again: for every fold, for every
strength of regularisation. The cache knows a row by its bytes. For each network it keeps the kernel
of the pairs of rows that it has met, in square tiles, of which there are as many as pairs need; it
computes the pairs that are missing, and no other. Four rows in two folds:

    fit on rows 0 1     pairs 00 01 11       computed: 3
    predict rows 2 3    pairs 20 21 30 31    computed: 4
    fit on rows 2 3     pairs 22 23 33       computed: 3
    predict rows 0 1    pairs 02 03 12 13    known

which are the 10 pairs of four rows. A second strength computes nothing.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np

from ntkjax._kernel.arrays import describe
from ntkjax._kernel.config import config
from ntkjax._sklearn import evaluation
from ntkjax._sklearn.architecture import Recipe

#: Rows on each side of a tile.
_TILE = 128
_BYTES = 8 * _TILE**2


class KernelCache:
    """Kernels of the pairs of rows that the estimators of this process have met.

    Attributes:
      pairs: number of pairs that have been computed since the start or the last `clear`; two rows
        are one pair in either order, and a row makes a pair with itself.
      nbytes: bytes that are in use.
      max_bytes: bytes that may be in use; None for an eighth of the memory. Networks that were not
        asked for longest are forgotten first. Kernels which would not fit are computed without it.

    Example:
      >>> import numpy as np
      >>> from ntkjax.sklearn import NTKRegressor, kernel_cache
      >>> kernel_cache.clear()
      >>> X, y = np.arange(6.0)[:, None], np.ones(6)
      >>> for alpha in (0.1, 1.0):
      ...     model = NTKRegressor(alpha=alpha).fit(X, y)
      >>> kernel_cache.pairs
      21
    """

    def __init__(self) -> None:
        self.pairs = 0
        self._max_bytes: int | None = None
        self._stores: OrderedDict[Hashable, _Store] = OrderedDict()
        self._lock = threading.RLock()

    @property
    def nbytes(self) -> int:
        """Bytes that are in use."""
        return _BYTES * sum(len(store.tiles) for store in self._stores.values())

    @property
    def max_bytes(self) -> int:
        """Bytes that may be in use."""
        return config.budget() if self._max_bytes is None else self._max_bytes

    @max_bytes.setter
    def max_bytes(self, value: int | None) -> None:
        is_number = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if value is not None and not (is_number and value >= 0):
            raise ValueError(
                f"kernel_cache: max_bytes={describe(value)}, expected a number of bytes, 0 for no "
                "cache, or None for an eighth of the memory."
            )
        with self._lock:
            self._max_bytes = value
            self._make_room(0, None)

    def clear(self) -> None:
        """Forget all kernels, and count pairs from zero."""
        with self._lock:
            self._stores.clear()
            self.pairs = 0

    def kernel(self, recipe: Recipe, x1: np.ndarray, x2: np.ndarray | None = None) -> np.ndarray:
        """The kernel of a network between rows (n1, d) and (n2, d); None stands for x1."""
        # Plus zero: the two zeros of floats are one number, and must have the same bytes.
        x1 = np.ascontiguousarray(x1, np.float64) + 0.0
        x2 = None if x2 is None else np.ascontiguousarray(x2, np.float64) + 0.0
        with self._lock:
            return self._kernel(recipe, x1, x2)

    def _kernel(self, recipe: Recipe, x1: np.ndarray, x2: np.ndarray | None) -> np.ndarray:
        sides = [-(-len(x) // _TILE) + 1 for x in (x1, x1 if x2 is None else x2)]
        most = _BYTES * sides[0] * sides[1]
        if most > self.max_bytes:
            return self._alone(recipe, x1, x2)
        key = recipe, x1.shape[1]
        store = self._stores.setdefault(key, _Store())
        self._stores.move_to_end(key)
        rows = store.indices(x1), store.indices(x1 if x2 is None else x2)
        needed = _BYTES * len(store.absent(*rows))
        if not self._make_room(needed, key):
            store.forget()
            rows = store.indices(x1), store.indices(x1 if x2 is None else x2)
            if _BYTES * len(store.absent(*rows)) > self.max_bytes:
                return self._alone(recipe, x1, x2)
        inputs = dict(zip(rows[0], x1, strict=True))
        if x2 is not None:
            inputs.update(zip(rows[1], x2, strict=True))
        for first, second in store.missing(*map(np.unique, rows)):
            made = _computed(recipe, inputs, first, second)
            self.pairs += _count(first, second)
            store.write(first, first if second is None else second, made)
        return store.read(*rows)

    def _alone(self, recipe: Recipe, x1: np.ndarray, x2: np.ndarray | None) -> np.ndarray:
        """The kernel without the cache."""
        made = evaluation.within(recipe, x1) if x2 is None else evaluation.between(recipe, x1, x2)
        self.pairs += len(x1) * (len(x1) + 1) // 2 if x2 is None else made.size
        return made

    def _make_room(self, needed: int, kept: Hashable) -> bool:
        """Forget other networks until so many bytes are free; whether they are."""
        while self.nbytes + needed > self.max_bytes:
            oldest = next((key for key in self._stores if key != kept), None)
            if oldest is None:
                return False
            del self._stores[oldest]
        return True


def _computed(
    recipe: Recipe, inputs: dict[int, np.ndarray], first: np.ndarray, second: np.ndarray | None
) -> np.ndarray:
    """The kernel of rows, by their indices."""
    x1 = np.stack([inputs[i] for i in first])
    if second is None:
        return evaluation.within(recipe, x1)
    return evaluation.between(recipe, x1, np.stack([inputs[i] for i in second]))


def _count(first: np.ndarray, second: np.ndarray | None) -> int:
    """Number of pairs of different rows, or of rows and themselves."""
    n = len(first)
    return n * (n + 1) // 2 if second is None else n * len(second)


class _Store:
    """The known pairs of one network: an upper triangle of tiles, NaN where nothing is known."""

    def __init__(self) -> None:
        self.rows: dict[bytes, int] = {}
        self.tiles: dict[tuple[int, int], np.ndarray] = {}

    def forget(self) -> None:
        """Start anew."""
        self.rows.clear()
        self.tiles.clear()

    def indices(self, x: np.ndarray) -> np.ndarray:
        """The index of each row, a new one for a row that is new."""
        keys = [hashlib.blake2b(row, digest_size=16).digest() for row in x]
        return np.array([self.rows.setdefault(key, len(self.rows)) for key in keys])

    def absent(self, i: np.ndarray, j: np.ndarray) -> set[tuple[int, int]]:
        """The tiles that these pairs need and that are not there."""
        sides = np.unique(i // _TILE).tolist(), np.unique(j // _TILE).tolist()
        return {(min(a, b), max(a, b)) for a in sides[0] for b in sides[1]} - self.tiles.keys()

    def read(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """The kernel of rows by their indices, NaN where it is not known."""
        out = np.full((len(i), len(j)), np.nan)
        for a, at_i in _by_tile(i):
            for b, at_j in _by_tile(j):
                tile = self.tiles.get((min(a, b), max(a, b)))
                if tile is not None:
                    tile = tile if a <= b else tile.T
                    out[np.ix_(at_i, at_j)] = tile[np.ix_(i[at_i] % _TILE, j[at_j] % _TILE)]
        return out

    def write(self, i: np.ndarray, j: np.ndarray, kernel: np.ndarray) -> None:
        """Keep the kernel of rows by their indices, in both orders."""
        for a, at_i in _by_tile(i):
            for b, at_j in _by_tile(j):
                key = min(a, b), max(a, b)
                if key not in self.tiles:
                    self.tiles[key] = np.full((_TILE, _TILE), np.nan)
                tile = self.tiles[key] if a <= b else self.tiles[key].T
                block = kernel[np.ix_(at_i, at_j)]
                tile[np.ix_(i[at_i] % _TILE, j[at_j] % _TILE)] = block
                if a == b:
                    tile[np.ix_(j[at_j] % _TILE, i[at_i] % _TILE)] = block.T

    def missing(
        self, i: np.ndarray, j: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Batches whose kernels make up what is not known of the pairs of i and j.

        Each pair is in one of them. The second batch shares no row with the first one; None stands
        for the first one again. Every batch must be written before the next one is asked for.
        """
        common, only_i, only_j = np.intersect1d(i, j), np.setdiff1d(i, j), np.setdiff1d(j, i)
        for rows, columns in ((common, common), (only_i, j), (common, only_j)):
            if not (len(rows) and len(columns)):
                continue
            for group in _alike(np.isnan(self.read(rows, columns))):
                # What the groups before wrote is known by now.
                unknown = columns[np.isnan(self.read(rows[group[:1]], columns)[0])]
                others = np.setdiff1d(unknown, rows[group])
                if len(others):
                    yield rows[group], others
                if len(others) < len(unknown):
                    yield rows[group], None


def _by_tile(indices: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """The tiles that rows are in, each with the places of these rows."""
    tiles = indices // _TILE
    return [(int(a), np.flatnonzero(tiles == a)) for a in np.unique(tiles)]


def _alike(unknown: np.ndarray) -> list[np.ndarray]:
    """The rows of a matrix of booleans, those that are equal together; not those of False."""
    rows = np.flatnonzero(unknown.any(1))
    if not len(rows):
        return []
    _, group = np.unique(np.packbits(unknown[rows], axis=1), axis=0, return_inverse=True)
    # NumPy 2.0 gives the inverse an axis more.
    group = group.reshape(-1)
    return [rows[group == k] for k in range(group.max() + 1)]


#: That of the process.
kernel_cache = KernelCache()


def kernel_of(recipe: Recipe, x1: Any, x2: Any = None) -> np.ndarray:
    """The kernel between rows, by the cache of the process."""
    return kernel_cache.kernel(recipe, x1, x2)
