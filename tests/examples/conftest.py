"""The tests of the demo need what the demo needs; without it they are left out.

Kernel functions compile fast in them.
"""

import importlib.util

from tests.helpers import programs_compile_fast  # noqa: F401

NEEDED = ("matplotlib", "mpmath", "sklearn", "threadpoolctl", "tqdm")

collect_ignore_glob = (
    [] if all(importlib.util.find_spec(name) for name in NEEDED) else ["test_*.py"]
)
