"""Beginning anew with a target, asked of a running engine: the same for socket and CLI.

A cohort of Amplitude can be read back, so adopting it takes who is really there. For
traits and partners' lists nobody can say: there today's source list is believed.
"""

from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from functools import partial
from typing import Any

from syncd.app.commands import shown
from syncd.app.engine import Engine, UnknownSync
from syncd.app.reading import whole_list_of
from syncd.app.reading_back import Reader, read_back, why_unreadable
from syncd.app.vendors import Vendors
from syncd.config.feeds import feed_of
from syncd.config.settings import Settings, SyncSettings
from syncd.sources import Listing, Postponed
from syncd.sources.feed_mark import adopted
from syncd.sync import adopting, vouching
from syncd.sync import resync as stories
from syncd.sync.adopting import Belief
from syncd.sync.resync import NotResyncable, Wish
from syncd.sync.spec import Report
from syncd.sync.steps import Run


def resync(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """`{"sync", "how", "actor", "via", "reason", "strangers"?}` -> `{"run": …}`.

    `how` is `adopt`, `push` or `heard`. With `strangers`, a number, a push begins with
    an upload that replaces all members, so many people of others included at most.
    Raises `NotResyncable`, `Busy`, `Paused` (a push), `WaitsForPerson`.
    """
    wish = Wish(actor=body["actor"], via=body["via"], reason=body["reason"].strip())
    if not wish.reason:
        raise NotResyncable("beginning anew needs a reason", code="resync.invalid")
    match body["how"]:
        case "adopt":
            return shown(_adopt(engine, body["sync"], wish))
        case "push":
            with engine.alone(body["sync"]) as (parts, spec):
                strangers = _number(body.get("strangers"))
                return shown(stories.push(parts, spec, wish, strangers=strangers))
        case "heard":
            with engine.alone(body["sync"]) as (parts, spec):
                return shown(vouching.vouch(parts, spec, wish))
        case _:
            raise NotResyncable(
                "a sync begins anew by adopt, by push, or by what was heard",
                code="resync.invalid",
            )


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise NotResyncable("people are counted in digits", code="resync.invalid")
    return int(text)


def _adopt(engine: Engine, name: str, wish: Wish) -> Report | None:
    settings = engine.blueprint.settings
    sync = sync_named(settings, name)
    with (
        engine.alone(name) as (parts, spec),
        closing(Vendors(settings, engine.clock, engine.database)) as vendors,
    ):
        if why_unreadable(settings, sync):
            return adopting.adopt(parts, spec, wish, Belief(reads=None))
        belief = Belief(
            reads=partial(_reads, settings, vendors),
            mark=_position(engine, settings, sync, vendors),
        )
        return adopting.adopt(parts, spec, wish, belief)


def sync_named(settings: Settings, name: str) -> SyncSettings:
    """The enabled sync of that name. Raises `UnknownSync`."""
    for sync in settings.syncs:
        if sync.name == name and sync.enabled:
            return sync
    raise UnknownSync(name)


def _reads(
    settings: Settings, vendors: Vendors, run: Run, cohort_id: str
) -> Listing | Postponed:
    """A new file in any case: what a lost store knew of an older one is not known."""
    wanted = Reader(
        connection=run.spec.identity.connection,
        cohort_id=cohort_id,
        id_type=run.spec.identity.id_type,
        max_age=timedelta(0),
        run_id=run.report.run_id,
        until=run.report.started_at + run.spec.max_runtime,
    )
    return read_back(run.parts, settings, run.spec.name, wanted, vendors)


def _position(
    engine: Engine, settings: Settings, sync: SyncSettings, vendors: Vendors
) -> str | None:
    """The mark of a sync that lives by pushed words alone; None where a list says who
    is wanted.

    Whom the destination holds is all there is to stand on, and every word that is kept
    stands above it: said again it changes nothing, or mends what somebody else did.
    """
    feed = feed_of(sync)
    if feed is None or whole_list_of(settings, sync, vendors, engine.clock) is not None:
        return None
    return adopted(feed, engine.clock.now())
