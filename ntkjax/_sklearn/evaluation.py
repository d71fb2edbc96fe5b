"""Kernels between rows, in float64, by blocks of one size.

XLA compiles a program for each shape, and the folds of a cross-validation all have different ones.
So rows are cut into blocks, the last one is filled up with copies of its first row, and every pair
of blocks is a call of one program. A fully connected network sees its rows through their inner
products over the number of features alone: rows are filled up with zeros to a power of two and
multiplied by the square root of the factor that this adds, so that data sets of similar width
share the program as well.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkjax._jax_compat import double_precision
from ntkjax._kernel.arguments import shapes_of_plan
from ntkjax._kernel.arrays import describe
from ntkjax._kernel.kernel_fn import KernelFn
from ntkjax._kernel.plan.network import network_graph
from ntkjax._sklearn.architecture import Recipe, Structure

#: Rows of a block; and where a row is an image or a sequence, whose pairs cost more.
_BLOCK, _BLOCK_OF_ARRAYS = 128, 32
#: The least number of features of a fully connected network's program.
_LEAST_WIDTH = 8


def between(recipe: Recipe, x1: np.ndarray, x2: np.ndarray) -> np.ndarray:
    """The kernel between two batches of rows, (n1, n2)."""
    blocks1, blocks2 = _blocks(recipe, x1), _blocks(recipe, x2)
    out = np.empty((len(x1), len(x2)))
    made = _made(recipe, [(a, b) for a in blocks1 for b in blocks2])
    for ((rows, _), (columns, _)), block in made:
        out[rows, columns] = block[: rows.stop - rows.start, : columns.stop - columns.start]
    return _checked(recipe, out)


def within(recipe: Recipe, x: np.ndarray) -> np.ndarray:
    """The kernel of a batch of rows with itself, (n, n), exactly symmetric."""
    blocks = _blocks(recipe, x)
    out = np.empty((len(x), len(x)))
    made = _made(recipe, [(a, b) for i, a in enumerate(blocks) for b in blocks[i:]])
    for ((rows, _), (columns, _)), block in made:
        block = block[: rows.stop - rows.start, : columns.stop - columns.start]
        if rows == columns:
            _check_symmetric(recipe, _checked(recipe, block))
            block = np.triu(block) + np.triu(block, 1).T
        out[rows, columns] = block
        out[columns, rows] = block.T
    return _checked(recipe, out)


def diagonal(recipe: Recipe, x: np.ndarray) -> np.ndarray:
    """The kernel of each row with itself, (n,)."""
    made = _made(recipe, [(a, a) for a in _blocks(recipe, x)])
    return _checked(recipe, np.concatenate([np.diagonal(k) for _, k in made])[: len(x)])


def with_gradient(recipe: Recipe, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The kernel (n, n), and its derivative by each of the network's numbers (n, n, numbers)."""
    blocks = _blocks(recipe, x)
    stacked = np.empty((1 + len(recipe.numbers), len(x), len(x)))
    pairs = [(a, b) for i, a in enumerate(blocks) for b in blocks[i:]]
    for ((rows, _), (columns, _)), block in _made(recipe, pairs, _gradient_program):
        block = block[:, : rows.stop - rows.start, : columns.stop - columns.start]
        stacked[:, columns, rows] = block.swapaxes(1, 2)
        stacked[:, rows, columns] = block
    upper = np.triu(stacked)
    stacked = upper + np.triu(stacked, 1).swapaxes(1, 2)
    _checked(recipe, stacked)
    return stacked[0], np.moveaxis(stacked[1:], 0, -1)


_Block = tuple[slice, np.ndarray]


def _blocks(recipe: Recipe, x: np.ndarray) -> list[_Block]:
    """The rows of each block, and its inputs, all of one shape."""
    size = _BLOCK if recipe.input_shape is None else _BLOCK_OF_ARRAYS
    width, wide = x.shape[1], max(_LEAST_WIDTH, 1 << (x.shape[1] - 1).bit_length())
    found = []
    for start in range(0, len(x), size):
        rows = slice(start, min(start + size, len(x)))
        block = x[rows]
        if len(block) < size:
            block = np.concatenate([block, np.repeat(block[:1], size - len(block), 0)])
        if recipe.structure.is_dense:
            block = np.pad(block, ((0, 0), (0, wide - width))) * (wide / width) ** 0.5
        elif recipe.input_shape is not None:
            block = block.reshape(size, *recipe.input_shape)
        found.append((rows, block))
    return found


def _made(
    recipe: Recipe, pairs: list[tuple[_Block, _Block]], program: Callable[..., Any] | None = None
) -> Iterator[tuple[tuple[_Block, _Block], np.ndarray]]:
    """Each pair of blocks with what a program makes of it; JAX goes on while results are taken."""
    with double_precision():
        call = (program or _program)(recipe.structure, recipe.get)
        numbers = recipe.numbers
        results = [call(numbers, a[1], b[1]) for a, b in pairs]
    for pair, result in zip(pairs, results, strict=True):
        yield pair, _array(recipe, result, len(pair[0][1]), len(pair[1][1]))


def _array(recipe: Recipe, result: Any, n1: int, n2: int) -> np.ndarray:
    """What a kernel function returns for rows, a number for each pair of them."""
    array = np.asarray(result)
    if array.dtype.kind not in "biuf" or array.shape[-2:] != (n1, n2):
        raise ValueError(
            f"network: its {recipe.get} of {n1} and {n2} rows is {describe(result)}, expected "
            f"numbers of shape ({n1}, {n2}); end the network with Flatten or GlobalAvgPool and "
            "Dense, or return a number for each pair of rows."
        )
    return array


@functools.lru_cache(maxsize=256)
def _program(structure: Structure, get: str) -> Callable[..., Any]:
    """The kernel of two blocks as a function of the network's numbers and the blocks."""

    def kernel(numbers: Any, x1: Any, x2: Any) -> Any:
        kernel_fn = structure.build(numbers)
        if isinstance(kernel_fn, KernelFn):
            _check_of_pairs(kernel_fn, x1.shape)
        return kernel_fn(x1, x2, get)

    return jax.jit(kernel) if structure.is_ours else kernel


@functools.lru_cache(maxsize=64)
def _gradient_program(structure: Structure, get: str) -> Callable[..., Any]:
    """The kernel of two blocks, and below it its derivative by each of the network's numbers."""

    def kernel(numbers: Any, x1: Any, x2: Any) -> Any:
        def of(values: Any) -> Any:
            return structure.build(tuple(values))(x1, x2, get)

        values = jnp.asarray(numbers)
        derivative = jax.jacfwd(of)(values)
        return jnp.concatenate([of(values)[None], jnp.moveaxis(derivative, -1, 0)])

    return jax.jit(kernel)


def _check_of_pairs(kernel_fn: KernelFn, shape: tuple[int, ...]) -> None:
    """The kernel of two rows must not depend on other rows, nor on which example a row is."""
    items, structure = shapes_of_plan(shape, shape, np.dtype(np.float64))
    graph, _ = network_graph(kernel_fn.part, items, structure)
    for node in graph.nodes:
        mixes = node.operation.along_batch
        if mixes or getattr(node.operation, "tells_examples_apart", False):
            what = "mixes the examples of a batch" if mixes else "draws numbers for each example"
            raise ValueError(
                f"network: {node.place} {what}, so that the kernel of two rows is not theirs "
                "alone; leave the layer out."
            )


def _checked(recipe: Recipe, kernel: np.ndarray) -> np.ndarray:
    """The same numbers, which must be finite."""
    if not np.isfinite(kernel).all():
        raise ValueError(
            f"the {recipe.get} of the network is not finite on these rows: they are too large, or "
            "the network too deep for its W_std; standardise the features or lower W_std."
        )
    return kernel


def _check_symmetric(recipe: Recipe, block: np.ndarray) -> None:
    """The kernel of rows with themselves must not depend on which comes first."""
    off = float(np.max(np.abs(block - block.T), initial=0.0))
    if off > 1e-6 * float(np.max(np.abs(block), initial=0.0)):
        raise ValueError(
            f"network: its {recipe.get} of rows with themselves is not symmetric (by {off:.3g}); "
            "pass a kernel function whose value does not depend on the order of its arguments."
        )
