"""Pair classification: do two sentences mean the same, or does the one entail the other?

mteb has none of these sets; the revisions are the ones that public code pins (none is known for SciTail). None could be
downloaded where this file was written. GLUE and SuperGLUE hide the test labels of RTE, QNLI and WiC: their dev split is
scored, and a local folder with a test split scores that.
"""

from mipic_bench.tasks._base import Task

_GLUE = "Wang et al. GLUE. ICLR 2019. https://arxiv.org/abs/1804.07461"
_LABELLED = ("train", "validation")  # splits whose labels are public

MRPC = Task(
    name="mrpc",
    family="pair",
    title="Microsoft Research Paraphrase Corpus",
    source="nyu-mll/glue",
    revision="bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
    licence="Microsoft Shared Source License",
    citation=f"Dolan, Brockett. IWP 2005. https://aclanthology.org/I05-5002; {_GLUE}",
    config="mrpc",
    label_names=("0", "1"),
)
SCITAIL = Task(
    name="scitail",
    family="pair",
    title="SciTail: does a web sentence entail a science claim?",
    source="allenai/scitail",
    revision="",  # no pin was found; the registry says so at every load
    licence="Apache-2.0",
    citation="Khot, Sabharwal, Clark. SciTail. AAAI 2018. https://ojs.aaai.org/index.php/AAAI/article/view/12022",
    config="tsv_format",
    columns={"premise": "sentence1", "hypothesis": "sentence2"},
    positive="entails",
)
WIC = Task(
    name="wic",
    family="pair",
    title="Words in Context: is a word used in the same sense? (the word itself is not shown to the model)",
    source="aps/super_glue",
    revision="3de24cf8022e94f4ee4b9d55a6f539891524d646",
    licence="CC BY-NC 4.0",
    citation="Pilehvar, Camacho-Collados. WiC. NAACL 2019. https://aclanthology.org/N19-1128",
    config="wic",
    splits=_LABELLED,
    label_names=("0", "1"),
)
RTE = Task(
    name="rte",
    family="pair",
    title="Recognizing Textual Entailment, as joined by GLUE",
    source="nyu-mll/glue",
    revision="bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
    licence="not specified",
    citation=f"Dagan, Glickman, Magnini. PASCAL RTE. MLCW 2005. https://doi.org/10.1007/11736790_9; {_GLUE}",
    config="rte",
    splits=_LABELLED,
    positive="entailment",
    label_names=("entailment", "not_entailment"),
)
QNLI = Task(
    name="qnli",
    family="pair",
    title="QNLI: does a sentence answer a question?",
    source="nyu-mll/glue",
    revision="bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
    licence="CC BY-SA 4.0 (SQuAD)",
    citation=f"Rajpurkar et al. SQuAD. EMNLP 2016. https://aclanthology.org/D16-1264; {_GLUE}",
    config="qnli",
    columns={"question": "sentence1", "sentence": "sentence2"},
    splits=_LABELLED,
    positive="entailment",
    label_names=("entailment", "not_entailment"),
)
