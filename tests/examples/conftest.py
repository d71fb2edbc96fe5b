"""The tests of the demo need what the demo needs; without it they are left out."""

import importlib.util

NEEDED = ("matplotlib", "mpmath", "sklearn", "threadpoolctl", "tqdm")

collect_ignore_glob = (
    [] if all(importlib.util.find_spec(name) for name in NEEDED) else ["test_*.py"]
)
