"""What a number was made with: versions, commit, device. No paths, no names of machines or people."""

import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mipic_bench.paths import CHECKOUT

PACKAGES = (
    "mipic-bench",
    "torch",
    "transformers",
    "accelerate",
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "mteb",
    "datasets",
    "sentence-transformers",
)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that make numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Return the commit of the checkout this package runs from, with "+changes" if it was edited.

    Empty when installed, and where there is no git to ask.
    """
    program = shutil.which("git")
    if program is None or not (CHECKOUT / ".git").exists():
        return ""

    def git(*words: str) -> str:
        return subprocess.run(
            [program, "-C", str(CHECKOUT), *words], capture_output=True, text=True, check=False
        ).stdout.strip()

    return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")


def device(name: str) -> dict[str, Any]:
    """Describe the hardware that computed: processor or card, threads."""
    import torch

    described: dict[str, Any] = {"device": name, "machine": platform.machine(), "threads": torch.get_num_threads()}
    if name.startswith("cuda"):
        described["card"] = torch.cuda.get_device_name(name)
    elif (capabilities := torch.cpu.get_capabilities()).get("cpu_name"):
        described["processor"] = capabilities["cpu_name"]
    return described


def now() -> str:
    """Return the time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
