"""A person's way through a sync, as `user` and `why` tell it, on both stores."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

from structlog.types import EventDict

from syncd.app.engine import Engine
from syncd.cli import person
from syncd.cli.person import Known
from syncd.cli.person_moments import Moment, moments
from syncd.cli.person_state import Answer, State, answer, since, state_of
from syncd.config.settings import Events, FromCohort, GuardSettings
from syncd.model import BatchState, IdType, Operation, Outcome, Trigger
from syncd.report.words import moment
from syncd.store import bindings, compaction, connections, pauses
from syncd.store.pauses import Pause
from syncd.store.traces import Naming
from syncd.sync.decide import Decision
from syncd.sync.ids import Reason
from syncd.sync.spec import Report
from tests.builders import (
    FAILED_BEFORE,
    LOST_ANSWER,
    NOW,
    REFUSED,
    PushedFeed,
    World,
    held_run,
    people,
)

ANN = b"ann-4711-secret"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
STRICT = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=0, on_trip="hold")


def advance(world: World, by: timedelta = MINUTE) -> None:
    world.clock.advance(by)  # type: ignore[attr-defined]


def run(engine: Engine, world: World, name: str = "vip") -> Report:
    advance(world)
    report = engine.run(name, Trigger.MANUAL)
    assert report is not None
    return report


def approve(engine: Engine, world: World) -> None:
    held = held_run(world.database)
    assert held is not None
    advance(world)
    engine.approve(
        Decision(run_id=held.id, actor="joe", via="cli", reason="looked at it")
    )


def known(world: World, name: str = "vip", who: bytes = ANN) -> Known:
    settings = world.blueprint().settings
    (sync,) = (each for each in settings.syncs if each.name == name)
    with world.database.read() as connection:
        return person.read(connection, settings, sync, who, world.clock.now())


def say(found: Known) -> Answer:
    return answer(found, lambda t: f"{t:%d %H:%M}")


def line(found: Known) -> list[Moment]:
    return moments(found, lambda t: moment(t, found.now, "UTC"))


def kinds(found: Known) -> list[str]:
    return [each.kind for each in line(found)]


def compact(world: World, name: str = "vip") -> None:
    with world.database.read() as connection:
        binding = bindings.current(connection, name)
    assert binding is not None
    compaction.compact(world.database, binding.id)


def whole(world: World, *others: bytes) -> PushedFeed:
    """The sync `vip`, fed by events that begin with everybody; others are in it."""
    feed = world.fed(begins_whole=True)
    world.vendor.known.update(others)
    feed.say(enter=others or [b"somebody"])
    return feed


# ---- one history ---------------------------------------------------------------------


def history(world: World) -> Iterator[Known]:
    """What is known of Ann after each step of hers."""
    crowd = people(*range(20))
    feed = whole(world, *crowd)
    with world.engine() as engine:
        run(engine, world)
        yield known(world)  # nobody spoke of her
        advance(world)
        feed.say(enter=[ANN])
        yield known(world)  # told, in no plan yet
        for stranger, exists in ((97, False), (98, False), (99, True)):
            if exists:
                world.vendor.known.add(ANN)
            feed.say(enter=people(stranger))
            run(engine, world)
            yield known(world)  # offered, offered again, accepted
            advance(world, 3 * HOUR)
        world.syncs["vip"] = replace(world.syncs["vip"], guard=STRICT)
    with world.engine() as engine:
        feed.say(leave=[ANN, *sorted(crowd)[:10]])
        assert run(engine, world).outcome is Outcome.HELD
        yield known(world)
        approve(engine, world)
        yield known(world)


def test_a_history_is_told_step_by_step(either: World) -> None:
    told = list(history(either))

    assert [(state_of(each), say(each).text.split(":")[0]) for each in told] == [
        (State.NEVER_SEEN, "Not in"),
        (State.OUT, "Not in yet"),
        (State.UNMATCHED, "Not in"),
        (State.UNMATCHED, "Not in"),
        (State.IN, "In the cohort"),
        (State.HELD, "In for now"),
        (State.OUT, "Not in"),
    ]
    assert "does not know this user_id (offered 1 time, next" in say(told[2]).text
    assert "does not know this user_id (offered 2 times, next" in say(told[3]).text
    assert "acknowledged 02 18:" in say(told[4]).text
    assert "would remove this person" in say(told[5]).text
    assert "removed 02 21:" in say(told[6]).text


def test_the_end_of_a_history_tells_every_step_in_its_order(
    either: World, lines: list[EventDict]
) -> None:
    *_, gone = history(either)

    assert said_in_order(gone) == [
        "began",
        "not taken",
        "not taken",
        "planned: to be added",
        "acknowledged: added",
        "engage: exited",
        "planned: to be removed",
        "acknowledged: removed",
    ]
    assert lines
    assert ANN.decode() not in repr(lines)


def said_in_order(found: Known) -> list[str]:
    """The moments by a few words of each."""
    short = (
        "not take",
        "planned: to be added",
        "planned: to be removed",
        "acknowledged: added",
        "acknowledged: removed",
        "engage: exited",
    )
    names = {"not take": "not taken"}
    return [
        next((names.get(each, each) for each in short if each in one.text), one.kind)
        for one in line(found)
    ]


def test_a_compaction_takes_nothing_from_the_answer_but_certainty(
    either: World,
) -> None:
    feed = whole(either, *people(*range(20)))
    either.vendor.known.add(ANN)
    with either.engine() as engine:
        run(engine, either)
        feed.say(enter=[ANN])
        run(engine, either)
    before = known(either)

    compact(either)
    after = known(either)

    assert (state_of(after), since(after)) == (State.IN, since(before))
    assert "in batch" in say(before).text
    assert "probably in batch" in say(after).text
    assert [each.probably for each in line(after)] == [False, False, True]


def test_who_entered_with_everybody_is_said_to_be_of_the_first_sync(
    either: World,
) -> None:
    whole(either, *people(*range(5)), ANN)
    with either.engine() as engine:
        run(engine, either)
    compact(either)

    fresh = say(known(either)).text
    advance(either, 91 * DAY)
    old = say(known(either)).text

    assert fresh == "In the cohort: in the first sync of 02 12:01."
    assert "for more than 90 days" in old


def test_a_trace_that_errs_does_not_contradict_what_is_known(either: World) -> None:
    found = known_with_a_wrong_trace(either)

    assert state_of(found) is State.IN
    assert "in the first sync" in say(found).text
    assert since(found) is None


def known_with_a_wrong_trace(world: World) -> Known:
    """A member, of whom a trace says that they were removed."""
    whole(world, *people(*range(5)))
    with world.engine() as engine:
        run(engine, world)
        compact(world)
        (one, *_) = sorted(people(*range(5)))
        found = known(world, who=one)
    wrong = Naming(
        batch_id=9,
        run_id="r" * 36,
        operation=Operation.REMOVE,
        state=BatchState.ACKNOWLEDGED,
        planned_at=None,
        acknowledged_at=NOW,
        attempts=1,
        certain=False,
    )
    return replace(found, namings=[wrong])


# ---- why not -------------------------------------------------------------------------


def test_a_batch_without_an_answer_makes_a_person_uncertain(either: World) -> None:
    feed = whole(either, *people(*range(20)))
    either.vendor.known.add(ANN)
    with either.engine() as engine:
        run(engine, either)
        either.vendor.always = LOST_ANSWER
        feed.say(enter=[ANN])
        assert run(engine, either).outcome is Outcome.PARTIAL

    found = known(either)

    assert state_of(found) is State.UNCERTAIN
    assert "has no proven answer after 9 requests" in say(found).text
    assert "its retries are used up" in say(found).text
    assert kinds(found).count("sent") == 9
    (hint,) = say(found).hints
    assert hint == f"syncd show {found.namings[-1].run_id[-8:]}"


def test_a_batch_that_was_refused_for_good_is_told(either: World) -> None:
    feed = whole(either, *people(*range(20)))
    with either.engine() as engine:
        run(engine, either)
        either.vendor.script.append(REFUSED)
        feed.say(enter=[ANN])
        run(engine, either)

    found = known(either)

    assert state_of(found) is State.UNCERTAIN
    assert "was refused for good" in say(found).text


def test_an_id_that_hygiene_refuses_is_never_sent_and_says_why(either: World) -> None:
    whole(either)

    edge, control = known(either, who=b" ann"), known(either, who=b"a\x07nn")

    assert (edge.refusal, state_of(edge)) == (Reason.WHITESPACE_EDGE, State.REJECTED)
    assert "white space" in say(edge).text
    assert "control character" in say(control).text
    assert line(edge) == []
    assert say(known(either, who=b"\xff")).text.endswith("(not_utf8).")


def test_an_id_of_the_other_kind_was_never_seen(either: World) -> None:
    either.fed(match=IdType.AMPLITUDE_ID)

    found = known(either)

    assert state_of(found) is State.NEVER_SEEN
    assert "matches by those" in say(found).text


def test_who_a_list_did_not_name_is_said_to_be_missing_there(either: World) -> None:
    either.sync(members=people(*range(10)))
    either.vendor.known |= people(*range(10))
    with either.engine() as engine:
        report = run(engine, either)

    found = known(either)

    assert state_of(found) is State.NEVER_SEEN
    assert f"the source, as of run {report.run_id[-8:]}" in say(found).text
    assert "did not name them" in say(found).text


def test_before_any_run_there_is_nothing_but_the_next_command(either: World) -> None:
    either.sync()

    found = known(either)

    assert say(found).text == "Not in: no run of vip has ended well yet."
    assert say(found).hints == ("syncd run vip",)


def test_runs_that_went_wrong_meanwhile_are_told_together(either: World) -> None:
    source = either.asked(people(*range(10)))
    either.vendor.known |= people(*range(10))
    with either.engine() as engine:
        run(engine, either)
        source.version = "2"
        source.refuses = FAILED_BEFORE.error()
        for _ in range(3):
            run(engine, either)

    runs_of = [each for each in line(known(either)) if each.kind == "run"]

    assert len(runs_of) == 1
    assert runs_of[0].text.startswith("3 runs failed: ")


def test_credentials_that_are_refused_are_a_moment(either: World) -> None:
    either.sync()
    with either.database.begin() as connection:
        connections.stop(connection, "amplitude", "Invalid API key", NOW)

    assert kinds(known(either)) == ["stopped"]


def test_a_pause_is_a_moment_and_puts_the_next_run_off(either: World) -> None:
    feed = whole(either, *people(*range(5)))
    with either.engine() as engine:
        run(engine, either)
    feed.say(enter=[ANN])
    until = NOW + 4 * HOUR
    with either.database.begin() as connection:
        pause = Pause(
            sync="vip", since=NOW, until=until, actor="joe", via="cli", reason="INC-1"
        )
        pauses.put(connection, pause)

    found = known(either)

    assert say(found).text.endswith("once the pause of joe is over.")
    assert "joe paused the sync until 16:00 UTC: INC-1" in [
        each.text for each in line(found)
    ]


# ---- both directions -----------------------------------------------------------------


def test_each_direction_has_a_word_and_an_answer_of_its_own(either: World) -> None:
    there = whole(either, *people(*range(5)))
    back = either.fed("back", begins_whole=True, source=cohort_source())
    either.vendor.known.add(ANN)
    with either.engine() as engine:
        there.say(enter=[ANN])
        back.say(enter=people(1, 2))
        for name in ("vip", "back"):
            run(engine, either, name)
        advance(either)
        back.say(enter=[ANN])

    found: Sequence[Known] = [known(either, name) for name in ("vip", "back")]

    assert [state_of(each) for each in found] == [State.IN, State.OUT]
    assert [each.told_by for each in found] == ["engage", "amplitude"]
    assert say(found[1]).text.startswith("Not in yet: entered ")
    assert say(found[1]).hints == ("syncd run back",)


def cohort_source() -> FromCohort:
    return FromCohort(
        connection="amplitude",
        cohort_id="c-9",
        max_staleness=DAY,
        events=Events(snapshot_lag=2 * HOUR, relist_every=None, without_value="ignore"),
        linked=False,
    )
