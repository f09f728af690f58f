"""What `cluster: procrastinate` needs: a store on Postgres, and its library."""

from collections.abc import Iterator
from importlib.util import find_spec

from syncd.config.findings import node_at, value_place
from syncd.config.raw import text
from syncd.config.reader import Mapping
from syncd.errors import Problem

_WANTED = "procrastinate"


def cluster_problems(root: Mapping) -> Iterator[Problem]:
    """Jobs are rows of Postgres; a secret URL is looked at when it is read."""
    if text(root, "cluster") != _WANTED:
        return
    place = value_place(root, ("cluster",))
    if _is_sqlite(root):
        message = "'procrastinate' needs a store on Postgres"
        hint = "store.url: postgresql://…, or cluster: embedded"
        yield place.problem("cluster.needs_postgres", message, hint=hint)
    if find_spec(_WANTED) is None:
        message = "'procrastinate' needs the library of that name, not installed here"
        hint = "python -m pip install 'syncd[cluster]', or cluster: embedded"
        yield place.problem("cluster.not_installed", message, hint=hint)


def _is_sqlite(root: Mapping) -> bool:
    """Without any URL the store is a SQLite file."""
    url = text(root, "store", "url")
    if url is None:
        return node_at(root, ("store", "url_file")) is None
    return url.startswith("sqlite")
