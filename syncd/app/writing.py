"""Where a sync writes: one `case` here for each kind of target.

Each loads its module where it is chosen: few installations have all kinds.
"""

import re
from collections.abc import Callable
from typing import assert_never

from syncd.app.vendors import Vendors
from syncd.config.feeds import feed_of
from syncd.config.settings import (
    FromCohort,
    Settings,
    SyncSettings,
    ToCohort,
    ToList,
    ToTrait,
)
from syncd.config.settings_connections import (
    AmplitudeConnection,
    Connection,
    EngageConnection,
    ListApiConnection,
    PropertyApiConnection,
)
from syncd.errors import SourceUnavailable
from syncd.sinks import Sink


def sink_of(connection: Connection, vendors: Vendors) -> Sink:
    """What writes to a connection."""
    match connection:
        case AmplitudeConnection():
            from syncd.clients.cohort_list import CohortList
            from syncd.sinks.amplitude_cohort import AmplitudeCohortSink

            amplitude = vendors.amplitude(connection.name)
            return AmplitudeCohortSink(
                client=amplitude,
                app_id=connection.app_id,
                listed=CohortList(amplitude.list_cohorts, vendors.clock),
            )
        case EngageConnection():
            from syncd.sinks.segment_identify import SegmentIdentifySink

            return SegmentIdentifySink(
                client=vendors.segment(connection.name),
                integrations=connection.integrations,
            )
        case ListApiConnection():
            from syncd.sinks.list_api import ListApiSink

            return ListApiSink(
                client=vendors.partner(connection.name),
                user_ids_key=connection.user_ids_key,
                name_key=connection.name_key,
                list_id_key=connection.list_id_key,
            )
        case PropertyApiConnection():
            from syncd.sinks.property_api import PropertyApiSink

            return PropertyApiSink(
                client=vendors.partner(connection.name),
                path=connection.path,
                mode=connection.mode,
                traits_key=connection.traits_key,
                user_id_key=connection.user_id_key,
                batch_key=connection.batch_key,
            )
        case _:
            assert_never(connection)


def target_text(settings: Settings, sync: SyncSettings) -> str:
    """The target as configured, for the sync's identity.

    `id:` and the vendor's id, `name:` and a name, or `template:` and what it is named
    after.
    """
    known, name = target_id(sync), _written_name(sync)
    if known is not None:
        return f"id:{known}"
    if name is not None:
        return f"name:{name}"
    return f"template:{_template(settings, sync)} of {_cohort_read(sync)}"


def target_id(sync: SyncSettings) -> str | None:
    """The vendor's id of an existing target that the configuration names."""
    match sync.target:
        case ToCohort() as cohort:
            return cohort.cohort_id
        case ToList() as listed:
            return listed.list_id
        case ToTrait():
            return None
        case _:
            assert_never(sync.target)


def naming_of(
    settings: Settings, sync: SyncSettings, vendors: Vendors
) -> Callable[[], str]:
    """What tells the name of a sync's target: as written, or after its cohort."""
    name = _written_name(sync)
    if name is not None:
        return lambda: name
    known = target_id(sync)
    if known is not None:
        return lambda: known  # nothing is named by us: it is there
    client = vendors.downloads(sync.source.connection)
    template, cohort_id = _template(settings, sync), _cohort_read(sync)

    def named_after_the_cohort() -> str:
        for each in client.cohorts():
            if each.id == cohort_id:
                return rendered(template, name=each.name, cohort_id=each.id)
        if feed_of(sync) is not None:
            # What is pushed to us is there, whatever a list says: its id names it.
            return rendered(template, name=cohort_id, cohort_id=cohort_id)
        raise SourceUnavailable(
            f"{sync.source.connection} lists no cohort {cohort_id}",
            code="source.not_found",
            hint="correct from.cohort_id, then: syncd check",
        )

    return named_after_the_cohort


def rendered(template: str, *, name: str, cohort_id: str) -> str:
    """A name after a cohort; what the cohort's own name holds is left as it is."""
    values = {"{name}": name, "{id}": cohort_id}
    return re.sub(r"\{name\}|\{id\}", lambda found: values[found[0]], template)


def _written_name(sync: SyncSettings) -> str | None:
    match sync.target:
        case ToCohort() as cohort:
            return cohort.cohort
        case ToTrait() as trait:
            return trait.trait
        case ToList() as listed:
            return listed.list
        case _:
            assert_never(sync.target)


def _template(settings: Settings, sync: SyncSettings) -> str:
    connection = settings.connections[sync.target.connection]
    match connection:
        case EngageConnection() | PropertyApiConnection():
            return connection.trait_template
        case ListApiConnection():
            return connection.name_template
        case AmplitudeConnection():
            raise TypeError("a cohort's name is written or made of its audience's key")
        case _:
            assert_never(connection)


def _cohort_read(sync: SyncSettings) -> str:
    if not isinstance(sync.source, FromCohort):
        raise TypeError("only a target that is fed by a cohort is named after one")
    return sync.source.cohort_id


def owner_of(sync: SyncSettings) -> str:
    """Login e-mail of the owner of a target that is created; empty for none."""
    return (sync.target.owner or "") if isinstance(sync.target, ToCohort) else ""


def direction_of(connection: Connection) -> str:
    """`to-amplitude`, `to-engage` or `to-partner`, as the log names it."""
    match connection:
        case AmplitudeConnection():
            return "to-amplitude"
        case EngageConnection():
            return "to-engage"
        case ListApiConnection() | PropertyApiConnection():
            return "to-partner"
        case _:
            assert_never(connection)


def batch_size_of(settings: Settings, sync: SyncSettings) -> int:
    """Ids in a batch: as configured, as far as the target takes so many."""
    from syncd.sinks import amplitude_cohort, list_api, property_api, segment_identify

    connection = settings.connections[sync.target.connection]
    match connection:
        case AmplitudeConnection():
            most = amplitude_cohort.MAX_BATCH
        case EngageConnection():
            most = segment_identify.MAX_BATCH
        case ListApiConnection():
            most = list_api.MAX_BATCH
        case PropertyApiConnection(mode="single"):
            most = 1
        case PropertyApiConnection():
            most = property_api.MAX_BATCH
        case _:
            assert_never(connection)
    return min(sync.delivery.batch_size, most)
