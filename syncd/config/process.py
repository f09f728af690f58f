"""Where the settings are: read from the environment, before there are any settings.

This is the layer that pydantic-settings reads. What the files say, and the `SYNCD_…`
variables laid over them, are validated by pydantic itself: errors there need the line
and column of every value, which pydantic-settings' merge does not keep.
"""

import os
from pathlib import Path
from typing import Annotated

from pydantic import field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Process(BaseSettings):
    """The variables that concern this process and not what it syncs."""

    model_config = SettingsConfigDict(
        env_prefix="SYNCD_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    config: Annotated[tuple[Path, ...], NoDecode] = ()
    """`SYNCD_CONFIG`: files and folders, separated like a search path."""

    revision: str = ""
    """`SYNCD_REVISION`: the commit that an image was built of, for `build_info`."""

    @field_validator("config", mode="before")
    @classmethod
    def _split(cls, text: object) -> object:
        if isinstance(text, str):
            return tuple(filter(None, text.split(os.pathsep)))
        return text
