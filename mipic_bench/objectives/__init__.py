"""The terms of the recipes, one file each. Objectives receive tensors, never the model.

To add a term: write `objectives/<name>.py` with a pure function on tensors and one leaf class of `Term` around it
(its fields are the settings a recipe may give), and its oracle test in `tests/oracle/`. Nothing else is edited: a recipe
names the term by its file name.

A term that lets the recipe choose its task loss (InfoNCE, CoSENT, directions, masking of equal texts) derives from `TaskTerm`.

The pure functions are public: `from mipic_bench.objectives import nested_info_nce, attention_kl, topk_cka, chain_info_nce`.
"""

from mipic_bench.objectives._task import TaskTerm, nested_cosent, nested_cosines
from mipic_bench.objectives._term import Nesting, Term, terms
from mipic_bench.objectives.attention_kl import attention_kl
from mipic_bench.objectives.chain_info_nce import chain_info_nce
from mipic_bench.objectives.nested_info_nce import nested_info_nce
from mipic_bench.objectives.topk_cka import topk_cka

__all__ = [
    "Nesting",
    "TaskTerm",
    "Term",
    "attention_kl",
    "chain_info_nce",
    "nested_cosent",
    "nested_cosines",
    "nested_info_nce",
    "terms",
    "topk_cka",
]
