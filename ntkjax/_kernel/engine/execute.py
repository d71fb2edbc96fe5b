"""How a call is carried out: as one program, or as a loop over tiles in Python.

A call that is not inside a program of the caller's own, and that takes several tiles, is a loop:
each tile is a call of one compiled program, and its result is added in its place while the next
ones are made. Within one program the cores of a CPU share each operation on a block of pairs, wait
for each other after it, and pass its results through the memory that they have in common. A core
that keeps a tile to itself does neither, and is a quarter faster for it; so on one CPU as many
threads as there are cores call the program. Several devices make a tile each at a time.
"""

import dataclasses
import functools
import inspect
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ntkjax._jax_compat import is_concrete, is_within_program
from ntkjax._kernel.algebra.graph import Part, Value, map_value
from ntkjax._kernel.engine.by_numbers import by_numbers
from ntkjax._kernel.engine.evaluate import (
    evaluate,
    finished,
    may_be_unscaled,
    prepared,
    tile_made,
    tiles_for,
)
from ntkjax._kernel.engine.stages import of_shapes, shapes_of, with_stages
from ntkjax._kernel.engine.tiles import empty, with_tile
from ntkjax._kernel.plan.forecast import has_costly_scales
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

    def stage(items: list[Any], request: Request) -> Any:
        return carried_out(part, items, structure, request, resources)

    shapes = shapes_of((part, items))
    count = len(items)
    items, request = with_stages(part, items, shapes, structure, request, stage)
    if len(items) > count:
        shapes = shapes_of((part, items))
    # Within a program, also what does not depend on its arguments is a part of it.
    if is_within_program() or not is_concrete((part, items)):
        program = _compiled(_one_program)
        how = structure, request, resources.alone()
        return by_numbers(lambda part, items: program(part, items, *how), part, items)
    tiling, may_be_unscaled = _tiling(*shapes, structure, request, resources)
    if may_be_unscaled:
        is_unscaled = _compiled(_are_alike, _QUICKLY)(part, items, structure, request, None)
        request = dataclasses.replace(request, is_unscaled=bool(is_unscaled))
    if tiling is None or tiling.is_one:
        program = _compiled(_one_program, _options(tiling))
        return program(part, items, structure, request, resources.alone())
    return _tile_by_tile(part, items, structure, request, tiling, resources)


#: LLVM uses half of a vector register of 512 bits unless told otherwise. Where there is none, that
#: changes nothing.
_WIDE = (("xla_cpu_prefer_vector_width", 512),)
#: For a program that takes longer to compile than to run.
_QUICKLY = (("xla_backend_optimization_level", 0),)


def _options(tiling: Tiling | None) -> tuple[tuple[str, int], ...]:
    """The options of a program that makes the tiles of a tiling, or all pairs at once (None)."""
    return _WIDE if tiling is not None and tiling.is_wide else ()


@functools.cache
def _compiled(
    fn: Callable[..., Any],
    options: tuple[tuple[str, int], ...] = (),
    given_away: str | None = None,
) -> Any:
    """`fn`, compiled with these options; its last three arguments are part of the program.

    The results may take the memory of the argument that is `given_away`.
    """
    count = len(inspect.signature(fn).parameters)
    return jax.jit(
        fn,
        static_argnums=range(count - 3, count),
        donate_argnames=given_away,
        compiler_options=dict(options) or None,
    )


def _one_program(
    part: Part, items: list[Any], structure: Value, request: Request, resources: Resources
) -> Any:
    """The kernels of all outputs: one program for each network, shapes and request."""
    plan, places = network_plan(part, items, structure, request)
    kernels = evaluate(plan, plan.of_items(items), resources)
    return map_value(kernels.__getitem__, places)


def _tile_by_tile(
    part: Part,
    items: list[Any],
    structure: Value,
    request: Request,
    tiling: Tiling,
    resources: Resources,
) -> Any:
    """The tiles one by one, as many at a time as there are workers, each added in its place.

    The result is where the inputs are.
    """
    devices = resources.devices
    home = next(iter(jax.tree.leaves(items)[0].devices()))
    part, owns, parts = _compiled(_prepared)(part, items, structure, request, tiling)
    given = part, items, parts
    if len(devices) > 1:
        everywhere = NamedSharding(Mesh(np.array(devices), ("tiles",)), PartitionSpec())
        given = jax.device_put(given, everywhere)
    rounds = list(map(jnp.asarray, _rounds(tiling, len(devices))))
    # Compiled here: threads share neither what the caller has set for this one, nor the wait.
    program = _compiled(_round_made, _options(tiling))
    lowered = program.lower(*given, rounds[0], structure, request, (tiling, devices))
    compiled = lowered.compile()

    def make(tiles: jax.Array) -> Any:
        made = compiled(*given, tiles)
        return jax.block_until_ready(jax.device_put(made, home) if len(devices) > 1 else made)

    total = jax.tree.map(lambda a: empty(tiling, a.shape[3:], a.dtype, home), lowered.out_info)
    workers = resources.workers if len(devices) == 1 else 1
    waiting = deque(_threads(workers).submit(make, tiles) for tiles in rounds)
    try:
        for tiles in rounds:
            total = _with_round(tiling, total, waiting[0].result(), tiles)
            waiting.popleft()
    finally:
        # Interrupted, it does not go on with those that wait.
        for made in waiting:
            made.cancel()
    # What has its place already stays there.
    is_placed = tiling.shares == 1 and tiling.shape == (tiling.count1, tiling.count2)
    finish = _compiled(_finished, given_away="total" if is_placed else None)
    return finish(part, items, total, owns, structure, request, tiling)


def _rounds(tiling: Tiling, count: int) -> np.ndarray:
    """The tiles, so many at a time, (round, tile, 4); the last number says whether to count it."""
    tiles = np.array(tiling.tiles, np.int32)
    rounds = -(-len(tiles) // count)
    dealt = np.resize(tiles, (rounds * count, 3))
    counts = (np.arange(len(dealt)) < len(tiles)).astype(np.int32)
    return np.concatenate([dealt, counts[:, None]], 1).reshape(rounds, count, 4)


@functools.cache
def _threads(workers: int) -> ThreadPoolExecutor:
    """Threads that last: to a new one, memory is new as well."""
    return ThreadPoolExecutor(workers, "ntkjax")


@functools.lru_cache(maxsize=1024)
def _tiling(
    tree: Any, shapes: tuple[Any, ...], structure: Value, request: Request, resources: Resources
) -> tuple[Tiling | None, bool]:
    """The tiles of a call, None for no tiles, and whether to ask if its images need scales.

    The call is of a network and inputs of these shapes.
    """

    def choose(part: Part, items: list[Any]) -> tuple[Tiling | None, bool]:
        plan, _ = network_plan(part, items, structure, request)
        tiling = tiles_for(plan, plan.of_items(items), resources)
        return tiling, tiling is not None and plan.may_be_unscaled and has_costly_scales(plan)

    return of_shapes(tree, shapes, choose)


def _are_alike(
    part: Part, items: list[Any], structure: Value, request: Request, _: None
) -> jax.Array:
    """Whether the images are so alike that all may have scale 1; a scalar."""
    plan, _ = network_plan(part, items, structure, request)
    return may_be_unscaled(plan, plan.of_items(items))


def _prepared(
    part: Part, items: list[Any], structure: Value, request: Request, tiling: Tiling
) -> Any:
    """The numbers of the network as arrays, and what belongs to single images."""
    plan, _ = network_plan(part, items, structure, request)
    return part, *prepared(plan, plan.of_items(items), tiling)


def _round_made(
    part: Part,
    items: list[Any],
    parts: Any,
    tiles: Any,
    structure: Value,
    request: Request,
    how: tuple[Tiling, tuple[Any, ...]],
) -> Any:
    """The outputs for the pairs of a tile for each device, (tile, n1, n2, ...).

    `items` are there for their shapes alone.
    """
    tiling, devices = how
    plan, _ = network_plan(part, items, structure, request)

    def one(parts: Any, tiles: Any) -> Any:
        made = tile_made(plan, tiling, parts, tuple(tiles[0, :3]))
        return jax.tree.map(lambda a: a[None], made)

    if len(devices) == 1:
        return one(parts, tiles)
    mesh, spec = Mesh(np.array(devices), ("tiles",)), PartitionSpec("tiles")
    return jax.shard_map(
        one, mesh=mesh, in_specs=(PartitionSpec(), spec), out_specs=spec, check_vma=False
    )(parts, tiles)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _with_round(tiling: Tiling, total: Any, made: Any, tiles: Any) -> Any:
    """All pairs with the tiles of one more round."""
    for k in range(tiles.shape[0]):
        one = jax.tree.map(lambda a, k=k: a[k], made)
        counts = None if tiles.shape[0] == 1 else tiles[k, 3] > 0
        total = with_tile(tiling, total, one, tiles[k, :3], counts)
    return total


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
    kernels = finished(plan, plan.of_items(items), tiling, total, owns)
    return map_value(kernels.__getitem__, places)
