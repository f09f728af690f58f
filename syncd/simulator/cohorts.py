"""One cohort: its members, and the object the API shows of it.

The shape is the recorded one of contract section 4.1 with every key, also those no
document names. Times are integer epoch seconds.
"""

from dataclasses import dataclass, field
from typing import Any

from syncd.simulator.behaviour import Script, Step

USER = "User"
"""The count group of ordinary cohorts."""


@dataclass(slots=True, kw_only=True)
class Cohort:
    """A cohort of one project. `members` are Amplitude IDs (or group ids)."""

    id: str
    app_id: int
    name: str
    kind: str = "manual_upload"
    """`manual_upload` (static) or `redshift` (dynamic: defined by behaviour)."""
    owners: list[str] = field(default_factory=list)
    count_group: str = USER
    archived: bool = False
    hidden: bool = False
    published: bool = True
    created_at: int = 0
    last_mod: int = 0
    last_computed: int | None = None
    """None: never computed."""
    size: int | None = None
    """What the API says; the truth is `len(members)`."""
    members: set[int] = field(default_factory=set)
    """The truth. That of a dynamic cohort is replaced and never changed in place, as
    computations and downloads keep what they saw."""
    seen: set[int] | None = None
    """What the last computation of a dynamic cohort saw; None: never computed."""
    script: Script | None = None
    """What happens to it by itself."""
    sync_metadata: list[Any] = field(default_factory=list)

    @property
    def dynamic(self) -> bool:
        """Its members follow from a definition, not from uploads."""
        return self.kind != "manual_upload"

    @property
    def computed(self) -> set[int]:
        """The members as of the last computation; a static cohort needs none."""
        return (self.seen or set()) if self.dynamic else self.members

    def settle(self, moment: float) -> None:
        """Let the script happen until a moment (epoch seconds)."""
        if self.script is not None:
            for step in self.script.due(moment):
                self._happen(step)

    def _happen(self, step: Step) -> None:
        base = self.members if step.members is None else set(step.members)
        if step.changes:
            self.members = (base | set(step.add)) - set(step.remove)
        if self.dynamic and step.recompute:
            self.recompute(step.at, self.members)
        elif step.changes and not self.dynamic:
            self.touch(int(step.at), frozenset(("lastMod", "lastComputed", "size")))

    def recompute(self, at: float, members: set[int]) -> None:
        """A dynamic cohort was computed, and these were its members."""
        self.seen = members
        self.last_computed, self.size = int(at), len(members)

    def forget(self, gone: set[int]) -> None:
        """These people do not exist any more."""
        same = self.seen is self.members
        self.members = self.members - gone
        if self.seen is not None:
            self.seen = self.members if same else self.seen - gone

    def touch(self, now: int, what: frozenset[str]) -> None:
        """An effective change happened: move the named fields (R22)."""
        if "lastMod" in what:
            self.last_mod = now
        if "lastComputed" in what:
            self.last_computed = now
            self.seen = self.members if self.dynamic else None
        if "size" in what:
            self.size = len(self.members)


def describe(cohort: Cohort) -> dict[str, Any]:
    """The cohort object as the list shows it (R5), without `syncMetadata`."""
    return {
        "appId": cohort.app_id,
        "archived": cohort.archived,
        "definition": {
            "version": 3,
            "countGroup": {"name": cohort.count_group, "is_computed": False},
            "cohortType": "UNIQUES",
            "andClauses": [],
            "referenceFrameTimeParams": {},
        },
        "description": None,
        "finished": cohort.last_computed is not None,
        "id": cohort.id,
        "name": cohort.name,
        "published": cohort.published,
        "type": cohort.kind,
        "lastMod": cohort.last_mod,
        "createdAt": cohort.created_at,
        "lastComputed": cohort.last_computed,
        "hidden": cohort.hidden,
        "metadata": None,
        "view_count": None,
        "popularity": None,
        "last_viewed": None,
        "chart_id": None,
        "edit_id": None,
        "is_predictive": False,
        "is_official_content": False,
        "location_id": None,
        "shortcut_ids": [],
        "per_app_metadata": None,
        "cohort_definition_type": None,
        "cohort_output_type": "UNIQUES",
        "is_generated_content": False,
        "owners": list(cohort.owners),
        "viewers": [],
        "size": cohort.size,
    }


def describe_uploaded(cohort: Cohort) -> dict[str, Any]:
    """The same object in an upload answer: there `countGroup` is a string (R17)."""
    shown = describe(cohort)
    shown["definition"]["countGroup"] = cohort.count_group
    return shown
