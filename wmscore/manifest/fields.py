"""Fields that panels are made of, and how a mistake in one is told."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
)

__all__ = [
    "Action",
    "Count",
    "Frozen",
    "Name",
    "Unit",
    "refuse_repeated_keys",
    "refuse_repeats",
    "validate",
]

M = TypeVar("M", bound=BaseModel)

Action = StrictStr | tuple[StrictFloat, ...]
Name = Annotated[StrictStr, Field(min_length=1)]
Unit = Annotated[StrictFloat, Field(ge=0.0, le=1.0)]
Count = Annotated[StrictInt, Field(ge=1)]


class Frozen(BaseModel):
    """Cannot be changed, and has no other fields than its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def refuse_repeats(field: str, values: Any) -> None:
    """Raise ValueError naming `field` where a value comes twice."""
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise ValueError(f"{field}: expected each once, got {repeated} more than once")


def refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of JSON objects, for `json.loads`."""
    refuse_repeats("keys of an object", [key for key, _ in pairs])
    return dict(pairs)


def validate(model: type[M], data: Any) -> M:
    """The model of some data; a ValueError names each field that is wrong, and what came."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ValueError(_explain(error)) from None


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        if problem["type"] == "too_short" and problem["input"]:
            continue  # an echo: the items are there, and their own errors are listed
        field = ""
        for part in problem["loc"]:
            field += f"[{part}]" if isinstance(part, int) else f".{part}"
        message = problem["msg"].removeprefix("Value error, ")
        got = "" if problem["type"] in ("value_error", "missing") else f", got {problem['input']!r}"
        lines.append(f"{field.lstrip('.')}: {message}{got}" if field else f"{message}{got}")
    return "\n".join(lines)
