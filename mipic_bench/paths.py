"""Where data files lie: those that travel with the package, inside the wheel or in the checkout, and those that users name."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).parent
CHECKOUT = _PACKAGE.parent  # of an installed package: the folder that it is installed in


def shipped(folder: str) -> Path:
    """Return the folder of shipped data files ("methods" or "baselines")."""
    inside = _PACKAGE / "_data" / folder
    return inside if inside.is_dir() else CHECKOUT / folder


def expanded(path: str | Path) -> Path:
    """Return a path as a user wrote it, a leading `~` being the home folder: where words are quoted, no shell does this."""
    return Path(os.path.expanduser(path))
