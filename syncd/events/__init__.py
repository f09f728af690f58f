"""Every log event of the product, written down once, as data.

An event's name and its fields are public API: operators search, count and alert on
them, and `emit` refuses a field that an event does not list. Messages name counts,
syncs and causes, never a member id. One file, long as it is: a table, in which a word
out of a log is looked up and to which one entry is added.
"""

from functools import partial

from syncd.events.writing import CONTEXT as CONTEXT
from syncd.events.writing import ERROR_TYPES as ERROR_TYPES
from syncd.events.writing import Event as Event
from syncd.events.writing import Level as Level
from syncd.events.writing import emit as emit
from syncd.events.writing import help_links as help_links
from syncd.events.writing import level_of as level_of


def _event(
    level: Level,
    name: str,
    message: str,
    fields: str = "",
    then: str = "",
    about: str = "",
) -> Event:
    """A catalogue entry; `fields` are names separated by blanks, `then` is `next`."""
    return Event(
        name=name,
        level=level,
        message=message,
        fields=frozenset(fields.split()),
        next=then,
        about=about,
    )


_debug = partial(_event, Level.DEBUG)
_info = partial(_event, Level.INFO)
_warning = partial(_event, Level.WARNING)
_error = partial(_event, Level.ERROR)

# ---- the daemon ---------------------------------------------------------------

DAEMON_STARTED = _info(
    "daemon.started",
    "serving {syncs} syncs, state in {store}",
    "config_hash syncs pid store speed",
)
DAEMON_STOPPING = _info(
    "daemon.stopping",
    "{signal}: finishing the requests in flight, {runs_in_flight} runs",
    "signal runs_in_flight",
)
DAEMON_STOPPED = _info("daemon.stopped", "stopped in {duration_ms} ms", "duration_ms")
DAEMON_FORCED_STOP = _warning(
    "daemon.forced_stop",
    "stopped before every run came to rest; another daemon goes on with them, or the "
    "next start does",
    "run_ids",
    then="syncd serve",
)
DAEMON_CRASHED = _error(
    "daemon.crashed", "an unexpected error: {error}", "thread", then="syncd serve"
)
WORKER_STARTED = _info(
    "worker.started",
    "taking up to {at_once} runs at once of {syncs} syncs, state in {store}",
    "config_hash syncs at_once pid store speed",
)
JOB_GIVEN_BACK = _warning(
    "job.given_back",
    "{sync}: the worker that ran it fell silent, its job was taken from it",
    then="syncd status",
)
JOBS_UNATTENDED = _warning(
    "jobs.unattended",
    "{jobs} runs are due and wait: no worker gives a sign of life",
    "jobs",
    then="syncd worker",
)
CONFIG_LOADED = _info(
    "config.loaded",
    "configuration {config_hash}: {syncs} syncs",
    "files config_hash syncs added removed changed",
)
CONFIG_RELOAD_FAILED = _error(
    "config.reload_failed",
    "the new configuration is invalid, the old one stays: {error}",
    "file line column problems",
    then="syncd check",
    about="{code}",
)
LEASE_ACQUIRED = _debug(
    "lease.acquired",
    "{sync}: this process holds the lease, fence {fence}",
    "holder fence",
)
"""Debug, since a lease is per sync and taken by every run."""
LEASE_LOST = _warning(
    "lease.lost",
    "{sync}: another process took over, this one stopped writing",
    "holder fence",
    then="syncd status",
)

# ---- the store ----------------------------------------------------------------

STORE_MIGRATED = _info(
    "store.migrated",
    "store schema {from_version} -> {to_version}",
    "from_version to_version",
)
JOBS_MIGRATED = _info(
    "jobs.migrated",
    "tables of the job queue {from_version} -> {to_version}",
    "from_version to_version",
)
STORE_FAILED_OVER = _warning(
    "store.failed_over",
    "the database failed over: what was acknowledged or pushed last may be lost, "
    "{syncs} syncs must be reconciled",
    "syncs",
    then="syncd status",
)
STORE_STUCK = _warning(
    "store.stuck",
    "{connections} connections of a process that stands still with something locked "
    "were ended",
    "connections",
    then="syncd status",
)
STORE_UNAVAILABLE = _error(
    "store.unavailable",
    "the store cannot be used: {error}",
    "operation",
    then="syncd status",
    about="{code}",
)
STORE_BACKUP_FINISHED = _info(
    "store.backup_finished",
    "{actor} made a backup of {bytes} bytes: {file}",
    "actor via file bytes",
)
STORE_BACKUP_FAILED = _error(
    "store.backup_failed",
    "no backup was made at {file}: {error}",
    "file",
    then="syncd db backup",
)
COMPACT_FINISHED = _debug(
    "compact.finished",
    "{sync}: {ids} ids of the log moved into chunks",
    "ids duration_ms",
)
PRUNE_FINISHED = _debug(
    "prune.finished",
    "removed {rows} rows past their retention",
    "rows",
)

# ---- a run --------------------------------------------------------------------

_RUN_FIELDS = (
    "due_at started_at outcome reason duration_ms phase_ms last_phase "
    "members_before members_after snapshot entered exited exit_ratio "
    "sent accepted unmatched rejected refused waiting dead "
    "batches requests retries cohort_id"
)

SCHEDULE_DUE = _debug("schedule.due", "{sync} is due", "due_at lag_ms")
RUN_SKIPPED = _info(
    "run.skipped",
    "{sync}: skipped, {reason}",
    "reason until due_at",
    then="syncd runs {sync}",
    about="{reason}",
)
RUN_MISSED = _warning(
    "run.missed",
    "{sync}: {missed} slots passed without a daemon; one run catches up",
    "due_at missed",
    then="syncd runs {sync}",
)
RUN_STARTED = _info("run.started", "{sync}: run started ({trigger})", "due_at lag_ms")
RUN_FINISHED = _info(
    "run.finished",
    "{sync}: {outcome}, +{entered} -{exited} in {duration_ms} ms",
    _RUN_FIELDS,
    then="syncd show {run_id}",
    about="{reason}",
)
"""The canonical line: exactly one per run, whatever happened to it."""
RUN_INTERRUPTED = _warning(
    "run.interrupted",
    "{sync}: stopped, batches still to send: {pending}; another daemon goes on "
    "with it, or it resumes at the next start",
    "accepted pending",
    then="syncd serve",
)
RUN_ABANDONED = _error(
    "run.abandoned",
    "{sync}: found unfinished, its process had died in {last_phase}",
    _RUN_FIELDS,
    then="syncd show {run_id}",
)
"""The canonical line of a run whose process died, written at the next start."""
SNAPSHOT_TAKEN = _info(
    "snapshot.taken",
    "{sync}: the source holds {members} members",
    "side members refused",
)
SNAPSHOT_SUSPICIOUS = _warning(
    "snapshot.suspicious",
    "{sync}: the source's list is not believed: {reason}",
    "reason",
    then="syncd plan {sync}",
    about="{code}",
)
BASELINE_CREATED = _info(
    "baseline.created",
    "{sync}: first run, {members} members to send",
    "members found_size cohort_id",
)
BASELINE_MISSING = _error(
    "baseline.missing",
    "{sync}: the acknowledged set is lost or incomplete: {reason}",
    "reason",
    then="syncd show {run_id}",
)
DIFF_COMPUTED = _info(
    "diff.computed",
    "{sync}: {entered} entered, {exited} exited, {unchanged} unchanged",
    "entered exited unchanged reasserted",
)
CHANGES_COMMITTED = _info(
    "changes.committed",
    "{sync}: {batches} batches are durable",
    "batches",
)
GUARD_TRIPPED = _warning(
    "guard.tripped",
    "{sync}: held by {guard}: {value}, allowed {limit}; nothing was sent",
    "guard value limit before entered exited reason",
    then="syncd show {run_id}",
    about="{guard}",
)
GUARD_APPROVED = _info(
    "guard.approved",
    "{sync}: {actor} approved the held plan",
    "actor reason plan_hash batches",
)
GUARD_REJECTED = _info(
    "guard.rejected",
    "{sync}: {actor} rejected the held plan; the baseline stays",
    "actor reason plan_hash batches",
)
GUARD_EXPIRED = _warning(
    "guard.expired",
    "{sync}: nobody decided on the held plan, it expired",
    "guard held_at plan_hash",
    then="syncd run {sync}",
)

# ---- delivery -----------------------------------------------------------------

BATCH_SENT = _debug(
    "batch.sent",
    "{sync}: batch {batch}, {operation} {size}",
    "batch operation size accepted unmatched rejected duration_ms",
)
BATCH_RETRIED = _debug(
    "batch.retried",
    "{sync}: batch {batch} goes again in {delay_ms} ms: {reason}",
    "batch operation size delay_ms reason",
    then="syncd show {run_id}",
)
BATCH_GAVE_UP = _warning(
    "batch.gave_up",
    "{sync}: batch {batch} used up its retries, the next due run takes it over",
    "batch operation size attempts",
    then="syncd show {run_id}",
)
BATCH_SPLIT = _debug(
    "batch.split",
    "{sync}: batch {batch} of {size} halved: {reason}",
    "batch operation size reason",
)
BATCH_DEAD_LETTERED = _error(
    "batch.dead_lettered",
    "{sync}: batch {batch} of {size} was refused for good: {error}",
    "batch operation size attempts",
    then="syncd outbox list {sync}",
)
MEMBER_REJECTED = _warning(
    "member.rejected",
    "{sync}: {count} ids rejected: {reason}",
    "reason count samples",
    then="syncd show {run_id}",
)
"""Once per run and reason; `samples` are `person_hash` values, never ids."""
API_THROTTLED = _warning(
    "api.throttled",
    "{connection}: told to wait {wait_ms} ms",
    "wait_ms until",
    then="syncd status",
)
API_CONTRACT_CHANGED = _error(
    "api.contract_changed",
    "{connection}: an answer of unexpected shape: {error}",
    then="syncd show {run_id}",
)
CONNECTION_STOPPED = _error(
    "connection.stopped",
    "{connection}: stopped, {reason}; tried again at {probe_at}",
    "reason probe_at",
    then="syncd status",
)
CONNECTION_RESUMED = _info(
    "connection.resumed", "{connection}: accepted again", "stopped_at"
)
TARGET_CREATED = _info(
    "target.created", "{sync}: created cohort {cohort_id}", "cohort_id name"
)
TARGET_ADOPTED = _info(
    "target.adopted",
    "{sync}: writes to the existing {cohort_id}",
    "cohort_id name found_size",
)
TARGET_REPLACED = _info(
    "target.replaced",
    "{sync}: cohort {cohort_id} was given {size} ids in the place of its members",
    "cohort_id size",
)
TARGET_HELD = _warning(
    "target.held",
    "{sync}: the cohort must not be written: {reason}",
    "reason",
    then="syncd show {run_id}",
    about="{code}",
)

# ---- downloads ----------------------------------------------------------------

FETCH_STARTED = _debug(
    "fetch.started",
    "{sync}: asks for a download of cohort {cohort_id}",
    "cohort_id last_computed",
)
FETCH_RESUMED = _info(
    "fetch.resumed",
    "{sync}: goes on with the download asked for at {asked_at}, no second one",
    "cohort_id request_id asked_at",
)
FETCH_REUSED = _info(
    "fetch.reused",
    "{sync}: the file of {asked_at} is still current, no second download",
    "cohort_id request_id asked_at",
)
FETCH_SKIPPED = _info(
    "fetch.skipped",
    "{sync}: cohort {cohort_id} is unchanged since {last_computed}, nothing downloaded",
    "cohort_id last_computed",
)
FETCH_COMPLETED = _debug(
    "fetch.completed",
    "{sync}: the file of cohort {cohort_id} was read whole, {rows} rows",
    "cohort_id request_id rows anonymous quoted size duration_ms",
)
"""Once per download. `quoted`: ids that begin and end with a quote, for reasons unknown
(contract 4.4): where there are any, the line is an info."""
QUOTA_LOW = _warning(
    "quota.low",
    "{project}: {used} of {limit} downloads used, {forecast} forecast by {resets_at}",
    "project used limit forecast estimated resets_at",
    then="syncd quota",
)
"""Once per day and project."""
QUOTA_EXHAUSTED = _error(
    "quota.exhausted",
    "{project}: {used} of {limit} downloads used, {reserve} kept in reserve: schedules"
    " stop downloading until {resets_at}",
    "project used limit reserve estimated resets_at",
    then="syncd quota",
)
"""Once per month and project."""
SOURCE_NOT_READY = _info(
    "source.not_ready", "{sync}: the source is not ready: {status}", "status"
)
SOURCE_UNCHANGED = _info(
    "source.unchanged",
    "{sync}: its files are byte for byte as they were, since {since}: not read again",
    "since",
)
SOURCE_RENAMED = _info(
    "source.renamed",
    "{sync}: cohort {cohort_id} was called {before}, now {name}",
    "cohort_id name before",
)
SOURCE_WENT_BACK = _info(
    "source.went_back",
    "{sync}: cohort {cohort_id} was computed at {before}, now it says {last_computed}",
    "cohort_id before last_computed",
)
SOURCE_NATIVE_SYNC = _warning(
    "source.native_sync",
    "{sync}: Amplitude itself syncs cohort {cohort_id} to {native_target}"
    " ({frequency}): {effect}",
    "cohort_id native_target frequency effect",
    then="syncd cohorts",
)
"""At each download. A choice to review only where both of them write to Segment."""

VERIFY_FINISHED = _info(
    "verify.finished",
    "{sync}: read back, {missing} missing, {extra} there that we do not know of",
    "missing extra ours unmatched uncertain drift_ratio",
    then="syncd verify {sync}",
)
"""A warning where more people differ than `sync.differences.DRIFT_LIMIT`."""

# ---- what is pushed to us -----------------------------------------------------

INBOX_FOLDED = _info(
    "inbox.folded",
    "{sync}: {events} people of whom something new was pushed",
    "events entered exited oldest_event newest_event",
)
INBOX_REJECTED = _warning(
    "inbox.rejected",
    "{connection}: {count} requests or events not taken: {reason}",
    "reason count path http_status",
    then="syncd status",
    about="{reason}",
)
"""At most once per minute, connection and reason; `count` since the last line."""
INBOX_TESTED = _info(
    "inbox.tested",
    "{connection}: {count} test events arrived; they change nothing",
    "count",
)
INBOX_SILENT = _warning(
    "inbox.silent",
    "{sync}: the audience went from {before} to {reported} and nothing arrived since "
    "{last_event_at}",
    "last_event_at reported before",
    then="syncd status {sync}",
)
"""At most once per day and sync."""
INBOX_INCOMPLETE = _warning(
    "inbox.incomplete",
    "{sync}: what was pushed before {since} is gone, and there is no whole list: send "
    "the audience again in full",
    "since",
    then="syncd status {sync}",
)
INBOX_LIST_FAILED = _warning(
    "inbox.list_failed",
    "{sync}: the whole list could not be read, what was pushed goes on without it: "
    "{error}",
    "",
    then="syncd status {sync}",
    about="{code}",
)
INBOX_LISTED = _info(
    "inbox.listed",
    "{connection}: the sender made the list {name}; {readers} syncs read it",
    "name key list_id readers",
)
WEB_LISTENING = _info(
    "web.listening",
    "listening on {address} ({server})",
    "server address",
)
WEB_DENIED = _warning(
    "web.denied",
    "{count} requests to {path} without a valid token or sign-in",
    "via path count",
    then="syncd status",
)

# ---- what people are told -----------------------------------------------------

NOTIFICATION_SENT = _info(
    "notification.sent",
    "{channel}: told of {count} conditions ({kind}, {news})",
    "channel news kind count message_id",
)
NOTIFICATION_FAILED = _warning(
    "notification.failed",
    "{channel} did not take a message: {reason}; tried again from {retry_at}",
    "channel reason kind message_id retry_at",
    then="syncd notify test",
)
HEARTBEAT_SKIPPED = _debug(
    "heartbeat.skipped", "no ping to the dead man's switch: {reason}", "reason"
)
HEARTBEAT_FAILED = _warning(
    "heartbeat.failed",
    "the dead man's switch took no ping: {reason}",
    "reason tries",
    then="syncd doctor",
)

# ---- people -------------------------------------------------------------------

_WHO = "actor via"
_WHY = f"{_WHO} reason"

OPERATOR_RAN = _info("operator.ran", "{actor} started a run of {sync}", _WHO)
OPERATOR_FETCHED = _info(
    "operator.fetched", "{actor} asked for the list of {sync}", _WHO
)
OPERATOR_VERIFIED = _info(
    "operator.verified", "{actor} had the target of {sync} read back", _WHO
)
OPERATOR_REPAIRED = _info(
    "operator.repaired",
    "{actor} had {sync} repaired: {add} to add, {remove} to remove",
    f"{_WHY} run add remove",
    then="syncd show {sync}",
)
OPERATOR_APPROVED = _info(
    "operator.approved", "{actor} approved run {run}", f"{_WHY} run"
)
OPERATOR_REJECTED = _info(
    "operator.rejected", "{actor} rejected run {run}", f"{_WHY} run"
)
OPERATOR_RETRIED = _info(
    "operator.retried",
    "{actor} sends {count} batches of {sync} again",
    f"{_WHY} run batches count",
)
OPERATOR_DROPPED = _info(
    "operator.dropped",
    "{actor} gave {count} batches of {sync} up; the next run plans their ids anew",
    f"{_WHY} batches count",
)
OPERATOR_RESYNCED = _info(
    "operator.resynced",
    "{actor} lets {sync} begin anew ({how}): {reason}",
    f"{_WHY} run how",
)
OPERATOR_DETACHED = _info(
    "operator.detached",
    "{actor} detached {sync} from {targets}: {reason}",
    f"{_WHY} targets emptied",
)
OPERATOR_RELOADED = _info(
    "operator.reloaded", "{actor} asked to read the configuration again", _WHO
)
OPERATOR_PAUSED = _info(
    "operator.paused",
    "{actor} paused {sync}: {reason}",
    f"{_WHY} until",
    then="syncd status",
)
OPERATOR_RESUMED = _info(
    "operator.resumed",
    "{actor} resumed {sync}",
    f"{_WHY} until",
    then="syncd status",
)
OPERATOR_FORGOT = _info(
    "operator.forgot",
    "{actor} had {people} ids forgotten, of which {syncs} syncs are told",
    "actor via people match syncs",
    then="syncd forget --status",
)
FORGOTTEN_SET_ASIDE = _info(
    "forgotten.set_aside",
    "batch {batch}: {count} people who are to be forgotten are not sent",
    "batch count",
)
FORGOTTEN_ERASED = _info(
    "forgotten.erased",
    "{sync}: nobody who was forgotten is left ({rows} rows were erased)",
    "rows",
)
PAUSE_EXPIRED = _info(
    "pause.expired",
    "{sync}: the pause by {actor} is over",
    "actor via reason since until",
    then="syncd status",
)
