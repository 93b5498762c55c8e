"""Natural language inference as training triplets.

The revision is the one that public model cards pin; it could not be downloaded where this file was written.
"""

from mipic_bench.corpora._base import HubCorpus

ALL_NLI = HubCorpus(
    name="all_nli",
    kind="triplets",
    source="sentence-transformers/all-nli",
    revision="d482672c8e74ce18da116f430137434ba2e52fab",
    licence="SNLI CC BY-SA 4.0; MultiNLI OANC and others",
    citation="Bowman et al. SNLI. EMNLP 2015. https://aclanthology.org/D15-1075; Williams et al. MultiNLI. NAACL 2018. https://aclanthology.org/N18-1101",
    config="triplet",
)
