"""Backbones: a transformer, its tokenizer, and how it is read out.

Any Hugging Face encoder loads by hub id or folder with no code. A short name with its own defaults is one constant in `table.py`;
an architecture whose blocks are kept elsewhere is one constant in `architectures.py`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mipic_bench.backbones.readout import LAYER_READOUTS, POOLINGS, Readout
from mipic_bench.backbones.sources import ENTRIES

if TYPE_CHECKING:
    from mipic_bench.backbones.cards import Card, card
    from mipic_bench.backbones.loading import load
    from mipic_bench.backbones.model import Backbone

__all__ = ["LAYER_READOUTS", "POOLINGS", "Backbone", "Card", "Readout", "card", "known", "load"]


def known() -> dict[str, str]:
    """Return the names of the table with their titles."""
    return {entry.name: entry.title for entry in ENTRIES.values()}


_SLOW = {"load": "loading", "Backbone": "model", "Card": "cards", "card": "cards"}


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for, so that listing names stays fast."""
    if name not in _SLOW:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_SLOW[name]}"), name)
