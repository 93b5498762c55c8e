"""Settings from outside as checked models: the common training settings, and saying what is wrong with any."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from mipic_bench.errors import UserError, raise_all, unknown
from mipic_bench.settings import Count, Positive, Several, Share, Weight, Whole

Raw = dict[str, Any]
M = TypeVar("M", bound=BaseModel)
# TOML has no null: "none" says it
Clip = Annotated[Positive | None, BeforeValidator(lambda value: None if value == "none" else value)]


class Training(BaseModel):
    """The common training settings, the same for every method (Table 7 of the MIPIC paper; what it does not state is the
    lab repository's default, see the comments).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: Count = 5
    max_steps: Count | None = None
    batch_size: Several = 16
    learning_rate: Positive = 2e-5
    head_rate_factor: Positive = 2.0  # repository: the alignment module learns at twice the encoder's rate
    weight_decay: Weight = 0.01
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: Share = 0.1  # repository
    min_learning_rate: Weight = 2e-6  # repository
    clip: Clip = 1.0  # repository, for MIPIC only; here for every method
    accumulation: Count = 1
    max_length: Annotated[Whole, Field(ge=4)] = 256
    pooling: Literal["cls", "mean", "last"] | None = None  # None: the backbone's own
    lora: Count | None = None  # rank of low-rank adapters; None: every weight is trained
    recompute: bool = False  # blocks run again in the backward pass: less memory, more time, the same numbers

    def identity(self) -> Raw:
        """Return what decides the trained numbers, as plain data; a setting that is off leaves no trace in it."""
        return self.model_dump(mode="json", exclude={"recompute", *(() if self.lora else ("lora",))})


def flat(nested: Mapping[str, Any], sign: str = ".") -> Raw:
    """Return nested tables as one, "training.epochs" its keys."""
    found: Raw = {}
    for key, value in nested.items():
        below = flat(value, sign).items() if isinstance(value, Mapping) else None
        found |= {key: value} if below is None else {f"{key}{sign}{rest}": leaf for rest, leaf in below}
    return found


def validated(model: type[M], raw: Mapping[str, Any], where: str) -> M:
    """Build a model from plain data, turning every complaint into one part of a `UserError`."""
    try:
        return model(**raw)
    except ValidationError as error:
        by_key: dict[str, list[Any]] = {}  # a key with several allowed kinds has a problem with each
        for problem in error.errors():
            by_key.setdefault(str(problem["loc"][0]), []).append(problem)
        raise_all([_complaint(model, key, problems, where) for key, problems in by_key.items()])
        raise


def _complaint(model: type[BaseModel], key: str, problems: list[Any], where: str) -> UserError:
    first = problems[0]
    if first["type"] == "extra_forbidden":
        return unknown("key", key, model.model_fields, where)
    if len(problems) == 1:
        key = ".".join(str(part) for part in first["loc"])
    said = dict.fromkeys(problem["msg"].removeprefix("Input should be ") for problem in problems)
    found = "" if first["type"] == "missing" else f", found {first['input']!r}"
    what = f"should be {' or '.join(said)}{found}" if first["type"] != "missing" else "is missing"
    place = f"{where}.{key}" if ": " in where else f"{where}: {key}"
    return UserError(place, what, "see methods/README.md for the keys and their values")
