"""Kinds of settings, as pydantic checks them: what terms, transforms and recipes say of their fields."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticKnownError


def _no_truth(value: Any) -> Any:
    """Refuse true and false, which Python takes for 1 and 0."""
    if isinstance(value, bool):
        raise PydanticKnownError("float_type")
    return value


Whole = Annotated[int, BeforeValidator(_no_truth)]
Real = Annotated[float, BeforeValidator(_no_truth), Field(allow_inf_nan=False)]

Positive = Annotated[Real, Field(gt=0)]
Share = Annotated[Real, Field(ge=0, le=1)]
Weight = Annotated[Real, Field(ge=0)]
Count = Annotated[Whole, Field(ge=1)]
Several = Annotated[Whole, Field(ge=2)]
Dims = tuple[Count, ...]
Layers = tuple[Count, ...]
