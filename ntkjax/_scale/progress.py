"""Progress bars on work that takes long, where `tqdm` is installed."""

from collections.abc import Iterable, Sequence
from typing import Any

from ntkjax._kernel.config import config

#: Work that is done by then shows no bar.
_SECONDS = 3.0


def progress(items: Sequence[Any], unit: str) -> Iterable[Any]:
    """The items, with a bar on the terminal once they take some seconds.

    `ntkjax.config.progress = False` switches it off.
    """
    if not config.progress or len(items) < 2:
        return items
    try:
        from tqdm import tqdm
    except ImportError:
        return items
    return tqdm(items, unit=f" {unit}", delay=_SECONDS, leave=False)
