"""Kinds of settings, as pydantic checks them: what terms, transforms and recipes say of their fields."""

from typing import Annotated

from pydantic import Field

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Several = Annotated[int, Field(ge=2)]
Weight = Annotated[float, Field(ge=0)]
Dims = tuple[Annotated[int, Field(ge=1)], ...]
Layers = tuple[Annotated[int, Field(ge=1)], ...]
