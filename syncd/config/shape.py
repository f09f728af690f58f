"""What every model of the schema shares."""

import os

from pydantic import BaseModel, ConfigDict

# Before the first model: pydantic would look through all that is installed for plugins,
# at each start. None of them has any business with configuration.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # noqa: TID251 - as above


class Shape(BaseModel):
    """Strict: unknown keys and wrong types are errors, input is never quoted."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )
