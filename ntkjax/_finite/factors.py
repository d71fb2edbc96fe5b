"""Gradients of single outputs of a network, as factors where that takes less, and their products.

At a site (see `sites`) the gradient of an output is G = sum_t x[b, t, k] y[b, t, d]. The inner
product of two gradients is that of the G, or, without them,

    sum over b, t, u of (sum_k x1[b, t, k] x2[b, u, k]) (sum_d y1[b, t, d] y2[b, u, d]).

Of a Dense layer of one position, 512 inputs and 512 outputs, the former multiplies 512 * 512
numbers for each pair of outputs, the latter 512, and 512 for each pair of examples.

Source: Novak et al. 2022, arXiv 2206.08720, sections 3.2 and 3.3.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntkjax._finite.convolution import convolution, is_plain
from ntkjax._finite.program import Program
from ntkjax._finite.sites import Site, cotangents_at, inputs_at
from ntkjax._jax_compat import evaluated, is_literal

_EXACT = lax.Precision.HIGHEST


class Factors(NamedTuple):
    """Gradients of some rows of some examples, paired, diagonal and traced places of the output.

    Attributes:
      inputs: x of each site that is held as factors, (example, groups, positions, inputs).
      back: y of each, (example, paired, diagonal, traced, groups, positions, outputs).
      gradients: of each other parameter, (example, paired, diagonal, traced, entries).
    """

    inputs: list[Array]
    back: list[Array]
    gradients: list[Array]


class Network(NamedTuple):
    """A network of one example, traced, and how the gradients of its parameters are held.

    Attributes:
      program: of the parameters and then of the arrays of one example, with one output.
      parameters: how many parameters there are.
      pairs: sites that are held as factors.
      sums: sites whose gradient is summed over positions.
    """

    program: Program
    parameters: int
    pairs: tuple[Site, ...]
    sums: tuple[Site, ...]


def pull(network: Network, leaves: Sequence[Array], example: Sequence[Array]) -> Any:
    """From a cotangent of the output to the factors of one row: x, and a function to y and G."""
    program, places = network.program, (*network.pairs, *network.sums)
    rest = sorted(set(range(network.parameters)) - {site.leaf for site in places})
    convolutions = _differentiated(program, network.parameters)

    def made_of(k: int, given: list[Any], _: Any) -> Array:
        step = program.steps[k]
        if k in convolutions:
            return convolution(step.parameters, *given)
        return evaluated(step.equation, given)[0]

    def outputs(added: list[Array], others: list[Array]) -> tuple[Array, list[Array]]:
        seen: dict[int, Array] = {}

        def at(number: int, site: Site) -> Any:
            def product(k: int, given: list[Any], read: Any) -> Array:
                y = made_of(k, given, read)
                x = given[1 - site.side]
                for factor in site.factors:
                    x = x * read(factor)
                seen[number] = inputs_at(program, site, x)
                return y + added[number]

            return product

        filled = list(leaves)
        for leaf, value in zip(rest, others, strict=True):
            filled[leaf] = value
        instead: dict[int, Any] = dict.fromkeys(convolutions, made_of)
        instead |= {site.step: at(number, site) for number, site in enumerate(places)}
        (output,) = program([*filled, *example], instead)
        return output, [seen[number] for number in range(len(places))]

    made = [program.steps[site.step].outputs[0] for site in places]
    zeros = [jnp.zeros(program.shape(value), program.dtype(value)) for value in made]
    _, back, x = jax.vjp(outputs, zeros, [leaves[leaf] for leaf in rest], has_aux=True)
    count = len(network.pairs)

    def row(cotangent: Array) -> tuple[list[Array], list[Array]]:
        added, others = back(cotangent)
        y = [cotangents_at(program, s, c) for s, c in zip(places, added, strict=True)]
        summed = [
            jnp.einsum("btk,btd->bkd", x[count + i], y[count + i], precision=_EXACT)
            for i in range(len(network.sums))
        ]
        return y[:count], [gradient.ravel() for gradient in (*summed, *others)]

    return x[:count], row


def factors(
    network: Network, leaves: Sequence[Array], example: Sequence[Array], cotangents: Array
) -> Factors:
    """Of one example and cotangents (paired, diagonal, traced, *output); no axis of examples."""
    x, row = pull(network, leaves, example)
    back, gradients = jax.vmap(jax.vmap(jax.vmap(row)))(cotangents)
    return Factors(x, back, gradients)


def product(first: Factors, second: Factors) -> Array:
    """Inner products (examples1, examples2, diagonal, paired1, paired2), summed over traced."""
    made = [
        jnp.einsum("ipdsk,jqdsk->ijdpq", g1, g2, precision=_EXACT)
        for g1, g2 in zip(first.gradients, second.gradients, strict=True)
    ]
    for x1, x2, y1, y2 in zip(first.inputs, second.inputs, first.back, second.back, strict=True):
        if x1.shape[1:3] == x2.shape[1:3] == (1, 1):
            ahead = jnp.einsum("ik,jk->ij", x1[:, 0, 0], x2[:, 0, 0], precision=_EXACT)
            back = jnp.einsum(
                "ipdsf,jqdsf->ijdpq", y1[..., 0, 0, :], y2[..., 0, 0, :], precision=_EXACT
            )
            made.append(ahead[:, :, None, None, None] * back)
            continue
        ahead = jnp.einsum("ibtk,jbuk->ijbtu", x1, x2, precision=_EXACT)
        back = jnp.einsum("ipdsbtf,jqdsbuf->ijdpqbtu", y1, y2, precision=_EXACT)
        made.append(jnp.einsum("ijbtu,ijdpqbtu->ijdpq", ahead, back, precision=_EXACT))
    return sum(made[1:], made[0])


def _differentiated(program: Program, parameters: int) -> set[int]:
    """The convolutions of inputs that depend on parameters."""
    known = set(program.inputs[:parameters])
    found = set()
    for k, step in enumerate(program.steps):
        if not known.isdisjoint(atom for atom in step.inputs if not is_literal(atom)):
            known.update(step.outputs)
            is_convolution = step.name == "conv_general_dilated" and is_plain(step.parameters)
            if is_convolution and step.inputs[0] in known:
                found.add(k)
    return found


class Cost(NamedTuple):
    """How large a call is: examples on either side, and places of the output of each kind."""

    examples1: int
    examples2: int
    paired1: int
    paired2: int
    shared: int

    def of_gradients(self, entries: int) -> float:
        """Multiplications for products of gradients of so many entries."""
        pairs = self.examples1 * self.examples2 * self.paired1 * self.paired2
        return float(pairs * self.shared * entries)

    def of_sums(self, first: Site, second: Site) -> float:
        """Multiplications for a site whose gradients are summed over positions."""
        entries = first.groups * first.inputs * first.outputs
        rows1 = self.examples1 * self.paired1 * self.shared * first.positions
        rows2 = self.examples2 * self.paired2 * self.shared * second.positions
        return float(rows1 + rows2) * entries + self.of_gradients(entries)

    def of_pairs(self, first: Site, second: Site) -> float:
        """Multiplications for a site that is held as factors."""
        positions = first.groups * first.positions * second.positions
        ahead = self.examples1 * self.examples2 * positions * first.inputs
        return ahead + self.of_gradients(positions * first.outputs)


def networks(
    programs: Sequence[Program], parameters: int, found: Sequence[list[Site]], cost: Cost
) -> list[Network]:
    """The networks of either side, each site held as takes fewer multiplications.

    Both sides hold the same sites in the same way.
    """
    pairs: list[list[Site]] = [[], []]
    sums: list[list[Site]] = [[], []]
    second = {site.leaf: site for site in found[-1]}
    for site in found[0]:
        other = second.get(site.leaf)
        if other is None or not site.is_like(other):
            continue
        # Products of all positions are many numbers for each pair of rows.
        few = site.groups * site.positions * other.positions <= math.isqrt(
            site.inputs * site.outputs
        )
        is_pair = few and cost.of_pairs(site, other) < cost.of_sums(site, other)
        for sides, one in zip((pairs, sums), (is_pair, not is_pair), strict=True):
            if one:
                sides[0].append(site)
                sides[1].append(other)
    return [
        Network(program, parameters, tuple(pairs[k]), tuple(sums[k]))
        for k, program in enumerate(programs)
    ]
