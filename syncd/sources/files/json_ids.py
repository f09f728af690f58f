"""Ids out of JSON: of a line by a path, of a profile's external ids by their type.

An integer is taken as decimal text. A fraction or a number beyond 64 bits comes out of
the parser as a float that may have lost digits, so it is refused.
"""

import orjson

from syncd.errors import SourceUntrusted


class JsonIds:
    """Reads ids out of the JSON of one list, and remembers whether any were there.

    If there were none at all, the path or the type is wrong rather than everybody
    anonymous.
    """

    def __init__(self, wanted: str) -> None:
        self._wanted = wanted
        self._path = wanted.split(".")
        self._file = ""
        self._row = 0
        self._rows = 0
        self._found = 0

    def begin(self, file: str) -> None:
        """Name the file that the next texts are from; rows are counted from 1 again."""
        self._file = file
        self._row = 0

    def of_lines(self, chunk: bytes) -> list[bytes]:
        """One id per line's object, by the dotted path; the empty id if it has none."""
        return [self._at_path(line) for line in chunk.split(b"\n") if line.strip()]

    def of_profiles(self, profiles: list[bytes]) -> list[bytes]:
        """Every id of the wanted type of each profile; the empty id if it has none."""
        found: list[bytes] = []
        for profile in profiles:
            found += self._of_type(profile) or [b""]
        return found

    def check(self) -> None:
        """At the end of the list: raise if there were rows, and the id in none."""
        if self._rows and not self._found:
            raise SourceUntrusted(
                f"none of {self._rows} rows has {self._wanted!r}",
                code="source.unknown_field",
                hint="see how the id is named in the file",
            )

    def _at_path(self, line: bytes) -> bytes:
        value = self._parse(line)
        for step in self._path:
            if value is None:
                return b""
            if not isinstance(value, dict):
                raise self._malformed(f"has {_kind(value)} where {step!r} should be in")
            value = value.get(step)
        return b"" if value is None else self._id(value)

    def _of_type(self, profile: bytes) -> list[bytes]:
        """Segment does not document the shape: an object by type, or a list of ids."""
        value = self._parse(profile or b"{}")
        if isinstance(value, dict):
            ids = value.get(self._wanted)
            ids = ids if isinstance(ids, list) else [ids]
        elif isinstance(value, list):
            ids = [self._external_id(one) for one in value]
        else:
            raise self._malformed(f"has {_kind(value)} instead of ids")
        return [self._id(one) for one in ids if one is not None]

    def _external_id(self, one: object) -> object:
        """What one element of a list of ids says, or None if it is of another type."""
        if not isinstance(one, dict) or not {"type", "id"} <= one.keys():
            raise self._malformed("has an external id without `type` and `id`")
        return one["id"] if one["type"] == self._wanted else None

    def _parse(self, text: bytes) -> object:
        self._row += 1
        self._rows += 1
        try:
            value: object = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise self._malformed("is no JSON") from None
        return value

    def _id(self, value: object) -> bytes:
        self._found += 1
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, int) and not isinstance(value, bool):
            return b"%d" % value
        raise SourceUntrusted(
            f"{self._file}, row {self._row}: {self._wanted!r} is {_kind(value)},"
            " which cannot hold an id",
            code="source.id_type",
            hint="write ids as JSON strings",
        )

    def _malformed(self, what: str) -> SourceUntrusted:
        return SourceUntrusted(
            f"{self._file}, row {self._row}, {what}", code="source.file_malformed"
        )


def _kind(value: object) -> str:
    return f"a value of type {type(value).__name__}"
