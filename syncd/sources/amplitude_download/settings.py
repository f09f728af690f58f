"""What one sync's cohort source is told; plain values, resolved by `app`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from syncd.clients.quota import Rules
from syncd.model import IdType


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadSettings:
    """Which cohort is read, how old its list may be, and what it may cost."""

    project: str
    """`region:app_id`: quota and rate limits are per project."""
    cohort_id: str
    id_type: IdType
    max_staleness: timedelta
    """A list older than this is downloaded anew although nothing seems changed: nobody
    computes a cohort for us (contract section 5, trap 1)."""
    linked: bool
    """Read it although syncd or Segment writes it."""
    limit: int
    """Downloads a month by the plan; the vendor's own figure wins where it gives one.
    """
    rules: Rules
    deadline: timedelta
    """From the request to the complete job; after it the run ends, the job goes on."""
    to_segment: bool
    """Whether the sync writes to Segment, as a sync of Amplitude's own may too."""
    project_of: Mapping[str, str]
    """Project of each configured connection, by the connection's name; empty for one
    that is not Amplitude's."""
