"""Retrieval in BEIR's form: documents, queries, judgements.

The hub ids and revisions are those of mteb 2.26's own task metadata; they could not be downloaded where this file was written.
"""

from mipic_bench.tasks._base import Task

_BEIR = "Thakur et al. BEIR. NeurIPS 2021 Datasets and Benchmarks. https://arxiv.org/abs/2104.08663"

SCIFACT = Task(
    name="scifact",
    family="retrieval",
    title="SciFact: abstracts that bear on a scientific claim",
    source="mteb/scifact",
    revision="d56462d0e63a25450459c4f213e49ffdb866f7f9",
    mteb="SciFact",
    licence="CC BY-NC 4.0 (as mteb states it)",
    citation=f"Wadden et al. Fact or Fiction. EMNLP 2020. https://aclanthology.org/2020.emnlp-main.609; {_BEIR}",
)
NFCORPUS = Task(
    name="nfcorpus",
    family="retrieval",
    title="NFCorpus: medical documents for lay questions",
    source="mteb/nfcorpus",
    revision="ec0fa4fe99da2ff19ca1214b7966684033a58814",
    mteb="NFCorpus",
    licence="not specified",
    citation=f"Boteva, Gholipour, Sokolov, Riezler. ECIR 2016. https://doi.org/10.1007/978-3-319-30671-1_58; {_BEIR}",
)
ARGUANA = Task(
    name="arguana",
    family="retrieval",
    title="ArguAna: the best counter-argument",
    source="mteb/arguana",
    revision="c22ab2a51041ffd869aaddef7af8d8215647e41a",
    mteb="ArguAna",
    licence="CC BY-SA 4.0 (as mteb states it)",
    citation=f"Wachsmuth, Syed, Stein. ACL 2018. https://aclanthology.org/P18-1023; {_BEIR}",
)
SCIDOCS = Task(
    name="scidocs",
    family="retrieval",
    title="SCIDOCS: papers that a paper cites",
    source="mteb/scidocs",
    revision="f8c2fcf00f625baaa80f62ec5bd9e1fff3b8ae88",
    mteb="SCIDOCS",
    licence="CC BY-SA 4.0 (as mteb states it)",
    citation=f"Cohan et al. SPECTER. ACL 2020. https://aclanthology.org/2020.acl-main.207; {_BEIR}",
)
FIQA = Task(
    name="fiqa",
    family="retrieval",
    title="FiQA-2018: answers to questions about finance",
    source="mteb/fiqa",
    revision="27a168819829fe9bcd655c2df245fb19452e8e06",
    mteb="FiQA2018",
    licence="not specified",
    citation=f"Maia et al. FiQA. WWW 2018 Companion. https://doi.org/10.1145/3184558.3192301; {_BEIR}",
)
CISI = Task(
    name="cisi",
    family="retrieval",
    title="CISI: library science abstracts (1,460 documents, 76 judged queries)",
    source="",  # not part of BEIR or mteb
    revision="",
    licence="not specified",
    citation="CISI test collection. University of Glasgow IR group. http://ir.dcs.gla.ac.uk/resources/test_collections/cisi",
)
