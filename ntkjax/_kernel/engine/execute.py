"""How a call is carried out: as one program, on one device or many, or by the cores of a CPU.

Within one program the cores of a CPU share each operation on a block of pairs, wait for each other
after it, and pass its results through the memory that they have in common. A core that keeps a tile
to itself does neither, and is a quarter faster for it; so several tiles on a CPU are one program
each, called by as many threads as there are cores.
"""

import functools
import inspect
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ntkjax._kernel.algebra.graph import Part, Value, map_value
from ntkjax._kernel.engine.evaluate import evaluate, finished, prepared, tile_made, tiles_for
from ntkjax._kernel.engine.tiles import with_tile
from ntkjax._kernel.plan.network import network_plan
from ntkjax._kernel.plan.plan import Request
from ntkjax._kernel.plan.resources import Resources
from ntkjax._kernel.plan.tiling import Tiling


def carried_out(
    part: Part, items: list[Any], structure: Value, request: Request, resources: Resources
) -> Any:
    """The kernels of all outputs, by all devices or cores.

    Where the caller has begun a program of their own, as part of that, on one device.
    """
    # Within a program, also what does not depend on its arguments is a part of it.
    arrays = *jax.tree.leaves((part, items)), jnp.zeros(())
    if any(isinstance(a, Tracer) for a in arrays):
        return _compiled(_one_program)(part, items, structure, request, resources.alone())
    if len(resources.devices) > 1:
        return _on_devices(part, items, structure, request, resources)
    tiling = None
    if jax.default_backend() == "cpu":
        leaves, tree = jax.tree.flatten((part, items))
        shapes = tuple(map(_shape, leaves))
        tiling = _tiling(tree, shapes, structure, request, resources)
    if tiling is None or len(tiling.tiles) == 1:
        program = _compiled(_one_program, tiling is not None and tiling.is_wide)
        return program(part, items, structure, request, resources.alone())
    return _by_cores(part, items, structure, request, tiling, resources.workers)


@functools.cache
def _compiled(fn: Callable[..., Any], is_wide: bool = False) -> Any:
    """`fn`, compiled, perhaps for wide vectors; its last three arguments are part of the program.

    LLVM uses half of a vector register of 512 bits unless told otherwise. Where there is none, that
    changes nothing.
    """
    count = len(inspect.signature(fn).parameters)
    options = {"xla_cpu_prefer_vector_width": 512} if is_wide else None
    return jax.jit(fn, static_argnums=range(count - 3, count), compiler_options=options)


def _one_program(
    part: Part, items: list[Any], structure: Value, request: Request, resources: Resources
) -> Any:
    """The kernels of all outputs: one program for each network, shapes and request."""
    plan, places = network_plan(part, items, structure, request)
    kernels = evaluate(plan, dict(enumerate(items)), resources)
    return map_value(kernels.__getitem__, places)


def _on_devices(
    part: Part, items: list[Any], structure: Value, request: Request, resources: Resources
) -> Any:
    """The same program on all devices, which share the tiles; the result where the inputs were."""
    homes = [device for a in jax.tree.leaves(items) for device in a.devices()]
    everywhere = NamedSharding(Mesh(np.array(resources.devices), ("tiles",)), PartitionSpec())
    part, items = jax.device_put((part, items), everywhere)
    kernels = _compiled(_one_program)(part, items, structure, request, resources)
    return jax.device_put(kernels, homes[0])


def _by_cores(
    part: Part, items: list[Any], structure: Value, request: Request, tiling: Tiling, workers: int
) -> Any:
    """The tiles one by one, as many at a time as there are workers, each added in its place."""
    part, owns, parts = _compiled(_prepared)(part, items, structure, request, tiling)
    tiles = list(map(jnp.array, tiling.tiles))
    # Compiled here: threads share neither what the caller has set for this one, nor the wait.
    program = _compiled(_tile_made, tiling.is_wide)
    lowered = program.lower(part, items, parts, tiles[0], structure, request, tiling)
    compiled = lowered.compile()
    (grid1, grid2), size1, size2 = tiling.grid, tiling.size1, tiling.size2

    def empty(of_tile: Any) -> Any:
        shape = (grid1 * size1, grid2 * size2, *of_tile.shape[2:])
        return jnp.zeros(shape, of_tile.dtype)

    def make(tile: jax.Array) -> Any:
        return jax.block_until_ready(compiled(part, items, parts, tile))

    total = jax.tree.map(empty, lowered.out_info)
    waiting = deque(_threads(workers).submit(make, tile) for tile in tiles)
    try:
        for tile in tiles:
            total = _with_tile(tiling, total, waiting[0].result(), tile)
            waiting.popleft()
    finally:
        # Interrupted, it does not go on with those that wait.
        for made in waiting:
            made.cancel()
    return _compiled(_finished)(part, items, total, owns, structure, request, tiling)


@functools.cache
def _threads(workers: int) -> ThreadPoolExecutor:
    """Threads that last: to a new one, memory is new as well."""
    return ThreadPoolExecutor(workers, "ntkjax")


def _shape(leaf: Any) -> tuple[tuple[int, ...], Any]:
    """Shape and type of an array or a number."""
    return (leaf.shape, leaf.dtype) if hasattr(leaf, "dtype") else ((), type(leaf))


@functools.lru_cache(maxsize=1024)
def _tiling(
    tree: Any, shapes: tuple[Any, ...], structure: Value, request: Request, resources: Resources
) -> Tiling | None:
    """The tiles of a call whose network and inputs have these shapes; None for no tiles."""
    found: list[Tiling | None] = []

    def note(part: Part, items: list[Any]) -> None:
        plan, _ = network_plan(part, items, structure, request)
        found.append(tiles_for(plan, dict(enumerate(items)), resources))

    structs = [jax.ShapeDtypeStruct(*leaf) for leaf in shapes]
    jax.eval_shape(note, *jax.tree.unflatten(tree, structs))
    return found[0]


def _prepared(
    part: Part, items: list[Any], structure: Value, request: Request, tiling: Tiling
) -> Any:
    """The numbers of the network as arrays, and what belongs to single images."""
    plan, _ = network_plan(part, items, structure, request)
    return part, *prepared(plan, dict(enumerate(items)), tiling)


def _tile_made(
    part: Part,
    items: list[Any],
    parts: Any,
    tile: Any,
    structure: Value,
    request: Request,
    tiling: Tiling,
) -> Any:
    """The outputs for the pairs of one tile; `items` for their shapes alone."""
    plan, _ = network_plan(part, items, structure, request)
    return tile_made(plan, tiling, parts, tile)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _with_tile(tiling: Tiling, total: Any, made: Any, tile: Any) -> Any:
    """All pairs with one more tile."""
    return with_tile(tiling, total, made, tile)


def _finished(
    part: Part,
    items: list[Any],
    total: Any,
    owns: Any,
    structure: Value,
    request: Request,
    tiling: Tiling,
) -> Any:
    """The kernels, of all tiles."""
    plan, places = network_plan(part, items, structure, request)
    kernels = finished(plan, dict(enumerate(items)), tiling, total, owns)
    return map_value(kernels.__getitem__, places)
