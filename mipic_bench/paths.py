"""Where the data files that travel with the package lie: inside the wheel, else in the checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).parent
CHECKOUT = _PACKAGE.parent  # of an installed package: the folder that it is installed in


def shipped(folder: str) -> Path:
    """Return the folder of shipped data files ("methods" or "baselines")."""
    inside = _PACKAGE / "_data" / folder
    return inside if inside.is_dir() else CHECKOUT / folder
