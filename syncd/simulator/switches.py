"""The points nobody could confirm, as switches (contract sections 10 and 11).

A rule that Amplitude does not document is never hard-coded: it has a default and a
switch under the name of the contract (`cfg.<name>` there).
"""

from dataclasses import asdict, dataclass, fields

TOUCHABLE = ("lastMod", "lastComputed", "size")

CHOICES = {
    "segment_success_body": ("json", "empty", "html"),
    "partner_list_answer": ("both", "flat", "response", "id"),
    "partner_same_name": ("same", "new"),
    "snapshot_at": ("request", "completion"),
    "gzip": ("encoding", "raw", "none", "twice"),
    "public_reset": ("iso", "http"),
    "sender_trait": tuple(
        "brackets_colon parentheses brackets_parentheses colon".split()
    ),
}
"""The words a switch can be."""

NULLABLE = {
    "retry_after": (int,),
    "partner_retry_after": (int,),
    "download_archived_status": (int,),
    "group_download_status": (int,),
    "job_failure": (str, int),
}
"""The types of a switch that can be null."""


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
    unknown_cohort_status: int = 404
    """R6: answer to a download request for a cohort nobody knows."""
    download_archived_status: int | None = None
    """Section 11: answer to a download of an archived cohort; null serves it."""
    group_download_status: int | None = None
    """R6: answer to a download of a group cohort; null serves it."""
    max_download_size: int = 2_000_000
    """R6: members of the largest cohort that can be downloaded."""
    too_large_status: int = 400
    """R6: answer to a download of a larger one."""
    quota_status: int = 429
    """R6: answer when the month's downloads are used up."""
    per_10_minutes: int = 60
    """R6: download requests of a project in 10 minutes."""
    per_minute: int = 4
    """R6: download requests of a project in 60 seconds."""
    running_jobs: int = 4
    """R6: download jobs of a project at the same time."""
    concurrent_requests: int = 5
    """R6: requests of a project in flight, of whatever kind; download calls beyond it
    are refused."""
    download_locks_cohort: bool = True
    """R23: a download request keeps others off its cohort while it is served."""
    count_failed_requests: bool = False
    """R7: download requests that fail count too, unless the month is used up."""
    job_seconds: float = 45.0
    """R9: how long a job takes, on the clock."""
    snapshot_at: str = "request"
    """R9: `request` or `completion`: when a job looks at the members."""
    job_failure: str | int | None = None
    """R9: jobs requested from now on end with this async_status, or with this HTTP
    status of the status call."""
    expired_status: int = 404
    """R10: answer about request ids that are unknown or older than 7 days."""
    file_early_status: int = 404
    """R11: answer when the file is not there yet, or never will be."""
    inline_max_rows: int = 1000
    """R12: larger files are redirected to the storage origin."""
    always_redirect: bool = False
    """R12: so are all others."""
    gzip: str = "encoding"
    """R14: `encoding` (with the header), `raw` (without), `none`, `twice`."""
    tab_prefix: bool = False
    """R14: names and values of user cohorts begin with a tab too."""
    extra_columns: str = ""
    """R14: more columns with awkward values, comma-separated."""
    column_order: str = "amplitude_id,user_id"
    """R14: comma-separated; a column that is not named is left out, unless extra."""
    bom: bool = False
    """R14: the file begins with a byte order mark."""
    crlf: bool = False
    """Contract 4.4: lines end with CR LF."""
    file_content_type: str = "text/csv"
    """Section 11: of a file from the API itself."""
    storage_content_type: str = "binary/octet-stream"
    """Section 11: of a file from storage."""
    download_recomputes: bool = True
    """R15: a download computes a dynamic cohort anew."""

    senders_honour_retry_after: bool = False
    """Both contracts, section 11: senders wait as long as a receiver asks for."""
    amplitude_sender_retries_4xx: bool = True
    """7.3: Amplitude also retries a 4xx that is no 429."""
    sender_trait: str = "brackets_colon"
    """7.3: which spelling of the trait Amplitude sends (amplitude_pushes.TRAITS)."""
    senders_recreate_list: bool = False
    """After a first sync that failed, the next one creates the list again."""
    public_list_per_minute: int = 60
    """Segment section 7: pages of audiences in a minute."""
    public_per_minute: int = 100
    """Segment section 7: single audiences in a minute."""
    public_reset: str = "iso"
    """How `X-RateLimit-Reset` writes its date; or `http`."""
    engage_resync_repeats_ids: bool = False
    """Segment section 11.14: a resync has the message ids of the one before."""

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
    if name in CHOICES:
        return value in CHOICES[name]
    if name in NULLABLE:
        return value is None or type(value) in NULLABLE[name]
    if isinstance(default, float) and type(value) is int:
        return True
    return type(value) is type(default)
