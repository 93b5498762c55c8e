"""Where each architecture keeps its blocks and its last norm, and whether its attention is causal.

Adding one is adding one constant; the contract test then checks its facts on a small random model of that class.
A model type that is not here is probed when it is loaded (see `probing.py`).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """Facts about a family of models that their configuration does not tell.

    Attributes:
        model_types: `config.model_type` of every model this holds for.
        blocks: dotted path of the list of transformer blocks inside the model.
        final_norm: dotted path of the norm behind the last block; empty for post-norm models, which have none.
        causal: whether a token sees only those before it.
    """

    model_types: tuple[str, ...]
    blocks: str
    final_norm: str = ""
    causal: bool = False


BERT = Architecture(("bert", "roberta", "xlm-roberta", "mpnet"), "encoder.layer")
DISTILBERT = Architecture(("distilbert",), "transformer.layer")
NOMIC = Architecture(("nomic_bert",), "layers")
MODERNBERT = Architecture(("modernbert",), "layers", final_norm="final_norm")
DECODER = Architecture(("qwen3", "qwen2"), "layers", final_norm="norm", causal=True)

_BY_TYPE = {
    model_type: value
    for value in list(globals().values())
    if isinstance(value, Architecture)
    for model_type in value.model_types
}


def known(model_type: str) -> Architecture | None:
    """Return the facts of a model type, or None when it is not listed."""
    return _BY_TYPE.get(model_type)
