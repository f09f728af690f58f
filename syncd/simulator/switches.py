"""The points nobody could confirm, as switches (contract sections 10 and 11).

A rule that Amplitude does not document is never hard-coded: it has a default and a
switch under the name of the contract (`cfg.<name>` there). Those of the download rules
(R6-R15) join this class with the download itself.
"""

from dataclasses import asdict, dataclass, fields

TOUCHABLE = ("lastMod", "lastComputed", "size")


@dataclass(slots=True)
class Switches:
    """One value per unconfirmed point."""

    list_includes_archived: bool = True
    """R5: archived cohorts are in the list."""
    list_includes_hidden: bool = False
    """R5: hidden cohorts are in the list."""
    retry_after: int | None = None
    """R8, R23: seconds in `Retry-After` of our own 429s; null sends no header."""
    check_owner: bool = False
    """R16: an upload whose owner is no login of the project is refused."""
    replace_dynamic_status: int = 400
    """R17: answer to an upload that replaces a dynamic cohort."""
    archived_status: int = 400
    """R18: answer to a write on an archived cohort."""
    membership_dynamic_status: int = 400
    """R18: answer to a membership call on a dynamic cohort."""
    accept_by_amp_id: bool = False
    """R18: membership takes `BY_AMP_ID` for `BY_ID`, as Segment's destination sends."""
    omit_result_id_type: bool = False
    """R20: result entries lack `id_type`, the shape Segment's destination reads."""
    membership_touches: str = "lastMod,lastComputed,size"
    """R22: which fields move on an effective change, comma-separated."""
    record_ids: bool = True
    """R25: keep the ids of writing requests beside the log, in memory only."""

    def as_dict(self) -> dict[str, object]:
        """All switches by name."""
        return asdict(self)

    def touches(self) -> frozenset[str]:
        """R22 as a set of names out of TOUCHABLE."""
        return frozenset(filter(None, self.membership_touches.split(",")))

    def change(self, values: dict[str, object]) -> None:
        """Set some switches, all or none. Raises ValueError for a name or type."""
        known = {field.name: field.default for field in fields(self)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"unknown switch {name!r}")
            if not _fits(name, known[name], value):
                raise ValueError(f"switch {name!r} cannot be {value!r}")
        for name, value in values.items():
            setattr(self, name, value)


def _fits(name: str, default: object, value: object) -> bool:
    if name == "membership_touches":
        return isinstance(value, str) and set(value.split(",")) <= {"", *TOUCHABLE}
    if name == "retry_after":
        return value is None or type(value) is int
    return type(value) is type(default)
