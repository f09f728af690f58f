"""Which files are an audience's list, and where the id stands in them."""

import json
from dataclasses import dataclass
from enum import StrEnum


class Shape(StrEnum):
    """How a file holds the members."""

    AUTO = "auto"
    """JSON lines if the file begins with `{`, else formatted."""
    FORMATTED = "formatted"
    """CSV; one column is the id."""
    UNFORMATTED = "unformatted"
    """CSV; one column is JSON with the profile's ids by type."""
    JSON_LINES = "json_lines"
    """One JSON object a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileList:
    """Where an audience's files are, and where the id is in a row."""

    pattern: str
    """A path with `*`, `?`, `**` and `{audience}`, e.g. `/in/{audience}-*.csv.gz`."""
    audience: str
    """The audience's key, put into the pattern as it is, without any wildcard."""
    shape: Shape = Shape.FORMATTED
    column: str = "user_id"
    """Header of the column with the id, or with the JSON of ids; not for JSON lines."""
    id_name: str = "user_id"
    """Unformatted: the external id's type. JSON lines: dotted path to the id."""

    def fingerprint(self) -> str:
        """Pattern, audience and place of the id; not the files that match today."""
        reads = {
            "source": "files",
            "pattern": self.pattern,
            "audience": self.audience,
            "shape": self.shape,
        }
        if self.shape is not Shape.JSON_LINES:
            reads["column"] = self.column
        if self.shape is not Shape.FORMATTED:
            reads["id_name"] = self.id_name
        return json.dumps(reads, sort_keys=True)
