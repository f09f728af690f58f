"""`syncd schema`: what an editor needs to know about the config files."""

from syncd.cli.frame import Frame, verb


@verb("schema")
def schema(frame: Frame) -> None:
    """Print the JSON Schema (draft-07) of the config files, for editors.

    Save it beside them and name it in their first line:

    # yaml-language-server: $schema=./syncd.schema.json
    """
    # Not at the top: `--help` need not load what validates.
    from syncd.config import json_schema

    frame.out.stdout.write(json_schema.text())
