"""What every model of the schema shares."""

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """Strict: unknown keys and wrong types are errors, input is never quoted."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )
