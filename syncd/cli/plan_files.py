"""The files that a plan of cohorts needs: a yes to their cost, and asking for them."""

from collections.abc import Collection, Mapping, Sequence

from syncd.app.preview import Look
from syncd.app.prices import Costs, prepared
from syncd.cli.engine import Ask, asking, me
from syncd.cli.frame import Frame
from syncd.config.settings import Loaded, SyncSettings
from syncd.errors import SourceUnavailable, SyncdError
from syncd.report.words import plural


class NotAgreed(SyncdError):
    """The plan would cost downloads, and nobody said yes."""

    code = "plan.costs"


def fetch_missing(
    frame: Frame, loaded: Loaded, look: Look, syncs: Sequence[SyncSettings], agreed: int
) -> Mapping[str, SyncdError]:
    """Have the missing files asked for by whoever owns the store: by sync, what failed.

    Raises `NotAgreed` when downloads are needed and neither a person nor `agreed`,
    their number, says yes; nothing is spent then.
    """
    costs = {
        name: each
        for name, each in prepared(look, syncs).items()
        if isinstance(each, Costs)
    }
    if not costs:
        return {}
    _agree(frame, look, set(costs.values()), agreed)
    with asking(frame, loaded) as ask:
        failed = {name: _fetch(ask, name) for name in costs}
    return {name: error for name, error in failed.items() if error is not None}


def _agree(frame: Frame, look: Look, costs: Collection[Costs], agreed: int) -> None:
    """Raise `NotAgreed` unless a flag or a person agrees to the downloads."""
    if len(costs) <= agreed:
        return
    left = _left(look, next(iter(costs)).connection)
    words = f"download {plural(len(costs), 'Amplitude cohort')} ({left})."
    if not agreed and frame.confirm(f"This will {words} Continue?"):
        return
    hint = f"syncd plan --max-downloads {len(costs)}"
    raise NotAgreed(f"This would {words}", hint=hint)


def _left(look: Look, connection: str) -> str:
    try:
        usage = look.vendors.downloads(connection).usage()
    except SyncdError:
        usage = None
    if usage is None:
        return "how many are left this month is not known"
    return f"{max(usage.limit - usage.used, 0):,} are left this month"


def _fetch(ask: Ask, sync: str) -> SyncdError | None:
    try:
        answer = ask("fetch", {"sync": sync, **me()})
    except SyncdError as error:
        return error
    if answer["state"] == "postponed":
        return SourceUnavailable(answer["message"], code="source.quota")
    return None
