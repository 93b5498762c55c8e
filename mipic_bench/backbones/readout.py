"""How a backbone is read out: which token, and whether intermediate layers pass the model's last norm."""

from dataclasses import dataclass

POOLINGS = ("cls", "mean", "last")
# the same in the files of sentence-transformers: since version 6, and before, as one flag each
MODES = {"cls": "cls", "mean": "mean", "last": "lasttoken"}
FLAGS = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens", "last": "pooling_mode_lasttoken"}
LAYER_READOUTS = ("raw", "final_norm")


@dataclass(frozen=True)
class Readout:
    """Pooling over tokens, and the readout of layers.

    Attributes:
        pooling: "cls" (first token), "mean" (over tokens, padding apart) or "last" (last token that is no padding).
        layer_readout: "raw" (what the block wrote) or "final_norm" (the model's last norm applied to every layer).
            Only pre-norm models (ModernBERT, Qwen3) tell them apart; post-norm models are always "raw".
    """

    pooling: str
    layer_readout: str
