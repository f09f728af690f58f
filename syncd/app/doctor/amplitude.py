"""An Amplitude project, by calls that cost nothing: list, usage, unsaved upload."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from syncd.app.doctor.findings import Blame, Finding, blame_of, fail, failed, ok, warn
from syncd.app.reading import whole_list_of
from syncd.app.vendors import Vendors
from syncd.clients.amplitude import AmplitudeClient, NewCohort, UploadIdType
from syncd.clients.amplitude_answers import Cohort
from syncd.clients.amplitude_downloads import AmplitudeDownloads
from syncd.clients.amplitude_job import Usage
from syncd.clock import Clock
from syncd.config.settings import (
    FromCohort,
    Settings,
    SyncSettings,
    ToCohort,
)
from syncd.config.settings_connections import (
    AmplitudeConnection,
)
from syncd.errors import DeliveryError, Fault, SourceError, SyncdError
from syncd.model import IdType
from syncd.report.words import plural
from syncd.sources.files import FilesSource
from syncd.store import acknowledged, bindings
from syncd.store.database import Database
from syncd.store.location import is_sqlite, sqlite_path
from syncd.store.migrate import require_current
from syncd.sync import ids

FEW = 3
"""Ids that are asked about: as many as prove that the type is right."""


def look(
    settings: Settings,
    connection: AmplitudeConnection,
    clients: tuple[AmplitudeClient, AmplitudeDownloads],
    vendors: Vendors,
    clock: Clock,
) -> Iterator[Finding]:
    """Credentials and region, the cohorts that are read or written, owner, quota."""
    client, downloads = clients
    name = connection.name
    cohorts = client.list_cohorts()
    yield _credentials(connection, cohorts)
    yield from cohorts_findings(name, settings.syncs, cohorts)
    yield from _owners(settings, connection, client, vendors, clock)
    yield from _usage(connection, downloads, clock)


def _credentials(connection: AmplitudeConnection, cohorts: Sequence[Cohort]) -> Finding:
    """The keys were taken; a list that names projects must name ours."""
    name, ours = connection.name, str(connection.app_id)
    named = {each.app_id for each in cohorts} - {""}
    if named and ours not in named:
        what = f"the keys are of project {', '.join(sorted(named))}, not of {ours}"
        return fail(name, what, "correct app_id or the keys", Blame.CONFIG)
    return ok(
        name,
        f"key and secret valid in region {connection.region}, app {ours}, "
        f"{plural(len(cohorts), 'cohort')} listed",
    )


def cohorts_findings(
    name: str, syncs: Iterable[SyncSettings], cohorts: Sequence[Cohort]
) -> Iterator[Finding]:
    """A line for each configured cohort that is not there, or cannot be used."""
    listed = {each.id: each for each in cohorts}
    for sync in syncs:
        for cohort_id, role in _cohorts_of(sync, name):
            cohort = listed.get(cohort_id)
            if cohort is None:
                what = f"{sync.name} {role} cohort {cohort_id}, which is not listed"
                yield fail(name, what, f"syncd cohorts {name}")
            elif cohort.archived:
                what = f"{sync.name} {role} cohort {cohort_id}, which is archived"
                yield fail(name, what, f"syncd cohorts {name}")
            elif cohort.count_group != "User":
                what = f"cohort {cohort_id} counts {cohort.count_group}, not people"
                yield fail(name, f"{sync.name}: {what}", f"syncd cohorts {name}")


def _cohorts_of(sync: SyncSettings, name: str) -> Iterator[tuple[str, str]]:
    source, target = sync.source, sync.target
    if not sync.enabled:
        return
    if isinstance(source, FromCohort) and source.connection == name:
        yield source.cohort_id, "reads"
    if isinstance(target, ToCohort) and target.connection == name:
        if target.cohort_id is not None:
            yield target.cohort_id, "writes"


# ---- the owner ----------------------------------------------------------------------


def _owners(
    settings: Settings,
    connection: AmplitudeConnection,
    client: AmplitudeClient,
    vendors: Vendors,
    clock: Clock,
) -> Iterator[Finding]:
    """Each owner once, with ids of the first sync that has any."""
    asked: dict[str, list[SyncSettings]] = {}
    for sync in settings.syncs:
        target = sync.target
        if sync.enabled and isinstance(target, ToCohort) and target.owner:
            if target.connection == connection.name and target.cohort_id is None:
                asked.setdefault(target.owner, []).append(sync)
    for owner, syncs in asked.items():
        some = next(
            filter(None, (_some(settings, each, vendors, clock) for each in syncs)),
            None,
        )
        if some is None:
            what = f"owner {owner} not asked about: no ids are known yet"
            yield warn(connection.name, what, f"syncd run {syncs[0].name}")
            continue
        sync, few = some
        yield _owner(connection, client, owner, sync, few)


def _owner(
    connection: AmplitudeConnection,
    client: AmplitudeClient,
    owner: str,
    sync: SyncSettings,
    few: tuple[bytes, ...],
) -> Finding:
    """An upload that is not saved: whether owner and ids are taken."""
    by_user = sync.match is IdType.USER_ID
    new = NewCohort(
        name="syncd doctor",
        app_id=connection.app_id,
        owner=owner,
        id_type=UploadIdType.BY_USER_ID if by_user else UploadIdType.BY_AMP_ID,
        ids=few,
        published=True,
    )
    name = connection.name
    try:
        found = client.validate(new)
    except DeliveryError as error:
        if error.fault is Fault.BAD_IDS:
            what = f"none of {len(few)} ids of {sync.name} is known to the project"
            return warn(name, what, f"is `match: {sync.match}` right? syncd plan")
        if error.fault is Fault.REFUSED:
            what = f"owner {owner} refused: {error}"
            return fail(name, what, "correct owner, then: syncd check", Blame.CONFIG)
        return failed(name, error)
    if found.created is not None:
        what = f"Amplitude made the cohort {found.created} though told to save nothing"
        return warn(name, what, "delete it in Amplitude")
    known = "some" if found.matched is None else f"{found.matched} of {len(few)}"
    return ok(name, f"owner exists, {known} ids of {sync.name} known (nothing saved)")


def _some(
    settings: Settings, sync: SyncSettings, vendors: Vendors, clock: Clock
) -> tuple[SyncSettings, tuple[bytes, ...]] | None:
    """A few ids that are members, or would be; None where none is at hand for free."""
    found = _acknowledged(settings, sync, clock) or _listed(
        settings, sync, vendors, clock
    )
    return (sync, tuple(found)) if found else None


def _acknowledged(settings: Settings, sync: SyncSettings, clock: Clock) -> list[bytes]:
    url = settings.store.read_url()
    if is_sqlite(url) and not sqlite_path(url).is_file():
        return []
    database = Database(url, readers=1)
    try:
        require_current(database)
        with database.read() as connection:
            binding = bindings.current(connection, sync.name)
            if binding is None or binding.id_type is not sync.match:
                return []
            for bucket in acknowledged.read(
                connection, binding.id, binding.n_buckets, clock.now()
            ):
                certain = bucket.acknowledged - bucket.uncertain
                if certain:
                    return sorted(certain)[:FEW]
    except SyncdError:
        pass  # the store has a line of its own
    finally:
        database.close()
    return []


def _listed(
    settings: Settings, sync: SyncSettings, vendors: Vendors, clock: Clock
) -> list[bytes]:
    """Of the first block of files; a warehouse may charge for being read."""
    source = whole_list_of(settings, sync, vendors, clock)
    if not isinstance(source, FilesSource):
        return []
    try:
        for block in source.blocks():
            return ids.accept(block, sync.match).ids[:FEW]
    except SourceError:
        pass  # the files have a line of their own
    return []


# ---- the month ----------------------------------------------------------------------


def _usage(
    connection: AmplitudeConnection, downloads: AmplitudeDownloads, clock: Clock
) -> Iterator[Finding]:
    try:
        usage = downloads.usage()
    except DeliveryError as error:
        if blame_of(error) is Blame.CREDENTIALS:
            raise
        yield warn(connection.name, f"downloads: {error}", "syncd quota")
        return
    if usage is None:
        what = "this account does not tell its downloads; our own count is used"
        yield warn(connection.name, what, "syncd quota")
        return
    yield month(connection, usage, clock.now())


def month(connection: AmplitudeConnection, usage: Usage, now: datetime) -> Finding:
    """Whether schedules may still download."""
    days = max((usage.resets_at - now).total_seconds() / 86_400, 0)
    reserve = connection.quota.reserve
    line = (
        f"downloads used {usage.used:,} of {usage.limit:,}, resets in {days:.1f} d "
        "(asking is free)"
    )
    if usage.used >= usage.limit - reserve:
        what = f"{line}; {reserve} are reserved: schedules download nothing"
        return warn(connection.name, what, "syncd quota")
    return ok(connection.name, line)
