"""Keeping a process off the hub, for weights and datasets alike."""

import os
import sys


def stay_offline() -> None:
    """Let nothing in this process, or in those it starts, ask a hub from now on; the hub's cache is still read.

    `huggingface_hub`, `datasets` and all that use them obey HF_HUB_OFFLINE, which they read when they are imported.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    for name in ("huggingface_hub.constants", "datasets.config"):
        if name in sys.modules:
            sys.modules[name].HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
