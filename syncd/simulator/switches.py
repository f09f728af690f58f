"""The points nobody could confirm, as switches (contract sections 10 and 11).

A rule that Amplitude does not document is never hard-coded: it has a default and a
switch under the name of the contract (`cfg.<name>` there). Those of the download rules
(R6-R15) join this class with the download itself.
"""

from dataclasses import asdict, dataclass, fields

TOUCHABLE = ("lastMod", "lastComputed", "size")

CHOICES = {
    "segment_success_body": ("json", "empty", "html"),
    "partner_list_answer": ("both", "flat", "response", "id"),
    "partner_same_name": ("same", "new"),
}
"""The words a switch can be."""


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

    segment_unknown_key_status: int = 401
    """Segment section 11.8: answer to a write key nobody has; 200: and nothing else."""
    segment_wrong_region_status: int = 200
    """T1: answer to a source of the other region; 200: and nothing else."""
    segment_dedupe_forever: bool = False
    """T6: a messageId is remembered for ever, as warehouses do; else 24 h."""
    segment_events_per_second: int = 0
    """T4: above this rate 429 (0: never); in seconds of the simulator's clock."""
    segment_success_body: str = "json"
    """T4: `json` is {"success": true}; `empty` or `html` answer 200 as well."""
    partner_list_answer: str = "both"
    """Where the answer to a list's creation has the id: `flat`, in `response`, `both`,
    or plainly as `id`."""
    partner_same_name: str = "same"
    """A second creation under one name: the `same` list, or a `new` one."""
    partner_knows_everybody: bool = True
    """Else a request with one unknown user id fails whole."""
    partner_unknown_user_status: int = 404
    """Vendor page 1: 404 Invalid User ID; some say 400."""
    partner_in_flight_per_list: int = 0
    """More requests than this at one list at a time: 429 (0: any number)."""
    partner_retry_after: int | None = None
    """Seconds in `Retry-After` of the partner's own 429s; null sends no header."""

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
    if name in ("retry_after", "partner_retry_after"):
        return value is None or type(value) is int
    if name in CHOICES:
        return value in CHOICES[name]
    return type(value) is type(default)
