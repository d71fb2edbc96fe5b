"""In which form every place of a network is held, and where the form changes.

Backwards, an operation that needs distances (a nonlinearity) asks for them of all linear operations
below it. Forwards, every operation says what it gives of what it accepts; where that is not what is
held, a `Convert` is put in between, one for all operations that ask for the same.

    Dense    -> Relu     -> Dense    -> output       get="ntk"
    distance    distance    covariance               asked for, backwards
    excess      whole       whole                    tangents, forwards

Here the first Dense gives distances and the excess of its tangents, which the Relu takes; and a
`Convert` between the Relu and the second Dense makes covariances of its distances.
"""

import dataclasses

from ntkjax._kernel.algebra.form import Form
from ntkjax._kernel.algebra.graph import Graph, Node
from ntkjax._kernel.operations.convert import Convert


@dataclasses.dataclass(frozen=True)
class Forms:
    """A graph with its conversions.

    Attributes:
      graph: the graph.
      held: the form of every node.
      taken: for every node, the forms in which it takes its inputs.
      origin: for every node, the node of the graph before whose geometry it has.
      index: where every node of the graph before stands now.
    """

    graph: Graph
    held: list[Form]
    taken: list[tuple[Form, ...]]
    origin: list[int]
    index: list[int]


def assign_forms(graph: Graph, ntk: bool) -> Forms:
    """Decide on the forms of a graph whose outputs are nodes of their own."""
    distances = _distances(graph)
    forms = Forms(Graph(), [], [], [], [])
    conversions: dict[tuple[int, Form], int] = {}

    def append(node: Node, is_distance: bool, taken: tuple[Form, ...], origin: int) -> int:
        forms.graph.nodes.append(node)
        forms.taken.append(taken)
        forms.held.append(node.operation.form(taken, is_distance, ntk))
        forms.origin.append(origin)
        return len(forms.held) - 1

    def converted(index: int, form: Form, origin: int) -> int:
        """A node in another form."""
        if forms.held[index] == form:
            return index
        key = index, form
        if key not in conversions:
            below = forms.graph.nodes[index]
            node = Node(Convert(form), (index,), below.signal, below.place)
            conversions[key] = append(node, form.is_distance, (forms.held[index],), origin)
        return conversions[key]

    for i, node in enumerate(graph.nodes):
        given = tuple(forms.index[j] for j in node.inputs)
        held = tuple(forms.held[j] for j in given)
        accepted = node.operation.accepts(held, distances[i], ntk)
        inputs = tuple(map(converted, given, accepted, node.inputs))
        node = dataclasses.replace(node, inputs=inputs)
        forms.index.append(append(node, distances[i], accepted, i))
    return forms


def _distances(graph: Graph) -> list[bool]:
    """Which nodes are held as distances."""
    result = [node.operation.gives_distance for node in graph.nodes]
    for i in reversed(range(len(result))):
        node = graph.nodes[i]
        for j in node.inputs:
            result[j] |= node.operation.takes_distance(result[i])
    return result
