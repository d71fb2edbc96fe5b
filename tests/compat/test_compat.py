"""Scripts for neural_tangents run on ntkjax: modules, paths, the runner, names that JAX removed."""

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import ntkjax.compat
from ntkjax._compat.removed import explain

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def nt():
    """`neural_tangents`, as a script imports it."""
    before = {n: m for n, m in sys.modules.items() if n.split(".")[0] == "neural_tangents"}
    ntkjax.compat.install(replace=True)
    yield importlib.import_module("neural_tangents")
    ntkjax.compat.uninstall()
    assert "neural_tangents" not in sys.modules
    # The import of ntkjax.compat, which runs once, had put them there.
    sys.modules.update(before)


def run(tmp_path, *arguments):
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}:{ROOT}"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
    )


IMPORTS = """
from neural_tangents import stax, predict, Kernel, batch
import neural_tangents.stax as by_path
from neural_tangents._src import batching, empirical, monte_carlo, predict as private
from neural_tangents._src.stax.requirements import Diagonal, get_diagonal, layer, requires
from neural_tangents._src.stax.elementwise import Relu, _elementwise, _sqrt
from neural_tangents._src.stax.linear import Dense, Padding, _affine, _Pooling
from neural_tangents._src.stax.combinators import serial
from neural_tangents._src.stax.branching import FanOut
from neural_tangents._src.utils import dataclasses, rules, utils
from neural_tangents._src.utils.kernel import Kernel as same
from neural_tangents._src.utils.typing import *
from neural_tangents.utils import batch as old
from neural_tangents.utils.kernel import Kernel as older
from neural_tangents.utils.utils import canonicalize_get, get_namedtuple, named_tuple_factory
"""


def test_old_paths_lead_to_ours(nt):
    names = {}
    exec(IMPORTS, names)
    assert names["by_path"] is names["stax"] is nt.stax
    assert names["Relu"] is ntkjax.stax.Relu
    assert names["Kernel"] is names["same"] is names["older"] is ntkjax.Kernel
    assert names["old"].batch is names["batching"].batch is ntkjax.batch
    assert nt.__version__ == "0.6.5"
    assert importlib.util.find_spec("neural_tangents") is not None


def test_what_is_missing_says_so(nt):
    with pytest.raises(NotImplementedError, match="TensorFlow"):
        _ = nt.experimental.empirical_ntk_fn_tf
    with pytest.raises(NotImplementedError, match=r"_get_axes is a part of that library's engine"):
        from neural_tangents._src.predict import _get_axes  # noqa: F401
    with pytest.raises(AttributeError, match=r"which is ntkjax.*'Mistake'"):
        _ = nt.stax.Mistake
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("neural_tangents.mistake")


SCRIPT = """
import pickle, sys
import local
from neural_tangents import stax
class Own: pass
assert __name__ == "__main__" and sys.modules["__main__"].Own is Own
print(sys.argv[1:], pickle.loads(pickle.dumps(Own)) is Own, local.here, stax.Relu())
import jax
jax.tree_map
"""


def test_a_script_runs_unchanged(tmp_path):
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "script.py").write_text(SCRIPT)
    (folder / "local.py").write_text("here = 'beside'")
    done = run(tmp_path, "-m", "ntkjax.compat", "scripts/script.py", "--depth", "3")
    assert done.stdout == "['--depth', '3'] True beside Relu()\n"
    assert done.returncode == 1
    assert "has no jax.tree_map; its successor is jax.tree.map" in done.stderr
    nothing = run(tmp_path, "-m", "ntkjax.compat", "mistake.py")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert "there is no script mistake.py" in nothing.stderr


INSTALLED = """
import sys
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import ntkjax.compat
assert "is installed and stays" in str(caught[0].message)
try:
    ntkjax.compat.install()
except ImportError as error:
    print(error.name)
import neural_tangents
print(neural_tangents.who)
ntkjax.compat.install(replace=True)
import neural_tangents
print(neural_tangents.Kernel is ntkjax.Kernel)
replaced = sys.excepthook
ntkjax.compat.uninstall()
import neural_tangents
print(neural_tangents.who)
print(replaced is sys.__excepthook__, sys.excepthook is sys.__excepthook__)
"""


def test_an_installed_library_is_left_alone_unless_asked(tmp_path):
    library = tmp_path / "site" / "neural_tangents"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text("who = 'theirs'")
    done = run(tmp_path, "-c", INSTALLED)
    words = ["neural_tangents", "theirs", "True", "theirs", "False", "True"]
    assert done.stdout.split() == words, done.stderr
    help = run(tmp_path, "-m", "ntkjax.compat", "--help")
    assert (help.returncode, help.stdout.split()[0]) == (0, "usage:")


REMOVED = {
    "jax.tree_map": "jax.tree.map",
    "jax.config.config": "jax.config.update",
    "jax.random.KeyArray": "jax.Array",
    "jax.core.Jaxpr": "jax.extend.core",
    "jax.ops.index_update": r"x\.at\[index\]\.set",
    "from jax.config import config": "jax.config.update",
    "from jax.experimental import stax": "jax.example_libraries.stax",
    "import jax.experimental.optimizers": "jax.example_libraries.optimizers",
    "from jax.api import jit": "jax itself",
    "from jax import ShapedArray": "jax.ShapeDtypeStruct",
}


@pytest.mark.parametrize("line", list(REMOVED))
def test_removed_names_have_successors(line):
    with pytest.raises((AttributeError, ImportError)) as caught:
        exec(line, {"jax": jax})
    explain(caught.value)
    (note,) = caught.value.__notes__
    assert re.search(REMOVED[line], note)


def test_other_errors_are_left_alone():
    for line in ("jax.numpy.mistake", "import mistake", "1 / 0", "from jax import mistake"):
        with pytest.raises(Exception, match=r"mistake|zero") as caught:
            exec(line, {"jax": jax})
        explain(caught.value)
        assert not hasattr(caught.value, "__notes__")
