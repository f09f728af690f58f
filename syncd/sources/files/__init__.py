"""Members from files: Engage's CSV downloads, or JSON lines; gzip or not.

All files that match an audience's pattern are one list, as an export in parts is. So
keep one export per audience where the pattern looks, replace it by renaming (never by
writing in place), and move old ones away: two exports together are their union.

Segment does not document the header of its downloads, so names are settings:

- formatted: external ids and traits are columns; the id is one column's value.
- unformatted: the ids of a profile are JSON in one column, from which the ids of one
  type are taken. Understood are `{"user_id": "u-1"}`, `{"user_id": ["u-1", "u-2"]}` and
  `[{"type": "user_id", "id": "u-1"}]`.
- JSON lines: an object a line; the id is found by a dotted path.

A profile without such an id is anonymous and yields the empty id, which hygiene counts.

A list that is byte for byte the one of the last plan is not read again (`mark`).

`source` tells whether it is, `listing` the story of reading it; `found` looks for the
files, `stream` reads lines out of them, `json_ids` ids out of JSON; one column out of
lines is `sources/csv_column`. Encoding is UTF-8, strictly. Lists that
a program writes anew each time suit JSON lines better: a CSV of one column that was cut
off in the middle of its last line looks like a whole one.
"""

from syncd.sources.files.file_list import FileList, Shape
from syncd.sources.files.source import FilesSource

__all__ = ["FileList", "FilesSource", "Shape"]
