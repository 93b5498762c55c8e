"""Train, score and compare nested (Matryoshka) sentence embeddings at every layer and width.

    import mipic_bench as mb

    rows = mb.run(["mrl", "mipic"], tasks="toy-sts", max_steps=50)   # a pandas DataFrame, one row per number
    mb.tables(rows)                                                  # layer x dim, shown by a notebook

Functions: `run`, `evaluate`, `load_results`, `tables`, `report`, `compare`, `export`, `profile` (see `mipic_bench.api`).
Parts: `objectives` (the terms and their pure functions), `MipicLoss` (a recipe as a loss of sentence-transformers).

Nothing heavy is imported before one of these is used.
"""

from importlib import import_module
from typing import Any

_FUNCTIONS = ("compare", "evaluate", "export", "load_results", "profile", "report", "run", "tables")
_ELSEWHERE = {"MipicLoss": "adapter", "UserError": "errors"}
_MODULES = ("api", "objectives")

__all__ = ["MipicLoss", "UserError", "api", "objectives", *_FUNCTIONS]  # noqa: PLE0604 - names, and nothing is imported


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for."""
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _FUNCTIONS:
        return getattr(import_module(f"{__name__}.api"), name)
    if name in _ELSEWHERE:
        return getattr(import_module(f"{__name__}.{_ELSEWHERE[name]}"), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("mipic-bench")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
