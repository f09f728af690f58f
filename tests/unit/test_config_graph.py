"""Rings, two writers, echoes: what the graph of the syncs may not hold."""

from pathlib import Path

import pytest

from syncd.config import InvalidConfig, Loaded, load
from syncd.config.graph import Edge, Node, feeds, folded
from syncd.config.rings import rings
from syncd.errors import Problem

HEAD = """\
version: 1
connections:
  engage:
    {type: engage, space: spa, snapshot: {type: files, path: x}, write_key_file: k}
  writer: {type: engage, space: spa, write_key_file: k}
  elsewhere: {type: engage, space: other, write_key_file: k2}
  amplitude: {type: amplitude, region: eu, app_id: 1, api_key_file: a,
    secret_key_file: b, owner: ana@acme.example}
  reader: {type: amplitude, region: eu, app_id: 1, api_key_file: a, secret_key_file: b}
  lists: {type: list_api, base_url: 'https://l.example', api_key_file: c}
  same-lists: {type: list_api, base_url: 'https://l.example', api_key_file: c}
  crm: {type: property_api, base_url: 'https://c.example', api_key_file: c}
  other-read: {type: engage, space: other, snapshot: {type: files, path: x}}
  third: {type: engage, space: third, write_key_env: k}
  free: {type: engage, write_key_file: k3}
  free-too: {type: engage, write_key_env: SYNCD_KEY}
  same-key: {type: engage, write_key_file: ./k}
  same-key-too: {type: engage, write_key_env: SYNCD_KEY}
  read-only: {type: engage, snapshot: {type: files, path: x}}
  us: {type: amplitude, region: us, app_id: 1, api_key_file: a, secret_key_file: b}
syncs:
"""
FIRST = len(HEAD.splitlines()) + 1
"""Line of the first sync; `from` and `to` are in the two lines below."""
UP = ("connection: engage, audience: vip", "connection: amplitude, cohort_id: c1")
DOWN = ("connection: reader, cohort_id: c1, linked: true", "connection: writer")


def sync(name: str, from_: str, to: str, more: str = "") -> str:
    return (
        f"  - name: {name}\n    from: {{{from_}}}\n    to: {{{to}}}\n"
        f"    schedule: daily\n{more}"
    )


def ways(*pairs: tuple[str, str]) -> str:
    """Syncs a, b, c … of four lines each."""
    return "".join(
        sync(name, *pair) for name, pair in zip("abcdef", pairs, strict=False)
    )


def load_text(folder: Path, syncs: str) -> Loaded:
    (folder / "syncd.yaml").write_text(HEAD + syncs)
    return load([folder / "syncd.yaml"], {})


def problems(folder: Path, syncs: str) -> list[Problem]:
    with pytest.raises(InvalidConfig) as caught:
        load_text(folder, syncs)
    return [one for one in caught.value.problems if one.severity == "error"]


def places(folder: Path, syncs: str) -> list[str]:
    """`name.end code`: which end of which sync is pointed at."""
    ends = {1: "from", 2: "to"}
    return [
        f"{'abcdef'[(one.line - FIRST) // 4]}.{ends[(one.line - FIRST) % 4]} {one.code}"
        for one in problems(folder, syncs)
    ]


# ---- rings ---------------------------------------------------------------------------


def test_a_ring_is_refused_with_its_path_at_the_sync_that_closes_it(
    tmp_path: Path,
) -> None:
    (problem,) = problems(tmp_path, ways(UP, (DOWN[0], f"{DOWN[1]}, trait: vip")))

    assert (problem.line, problem.column, problem.code) == (FIRST + 6, 9, "sync.ring")
    assert problem.message == (
        "this sync closes a ring: cohort c1 -> trait vip -> audience vip -> cohort c1"
    )


@pytest.mark.parametrize(
    ("audience", "trait"),
    [
        ("audience: churn_risk", "trait: churn_risk"),
        ("audience: churn_risk", 'trait: "Churn Risk"'),
        ("audience: churn_risk", "trait: churnRisk"),
        ("audience: vip, built_on: [plan, churn_risk]", "trait: churn_risk"),
        ("audience: vip, built_on: [churn_risk]", 'trait: "Churn Risk"'),
        ("audience: vip, query: SELECT id FROM u WHERE Churn_Risk", "trait: ChurnRisk"),
        ("audience: vip, query: 'SELECT id WHERE \"Risk!\"'", 'trait: "Risk!"'),
        ("audience: vip, query: SELECT id WHERE amplitude_x_c1", "trait: null"),
        ("audience: vip, built_on: ['[Amplitude] Some name (c1)']", "trait: null"),
    ],
)
def test_an_audience_on_a_trait_that_its_cohort_feeds_is_a_ring(
    tmp_path: Path, audience: str, trait: str
) -> None:
    up = (f"connection: engage, {audience}", UP[1])
    down = (DOWN[0], f"connection: writer, {trait}")

    assert places(tmp_path, ways(up, down)) == ["b.to sync.ring"]
    assert places(tmp_path, ways(down, up)) == ["b.to sync.ring"]


@pytest.mark.parametrize(
    ("audience", "down"),
    [
        ("audience: vip", ("cohort_id: c1, linked: true", "writer, trait: vip2")),
        ("audience: vip", ("cohort_id: c1, linked: true", "elsewhere, trait: vip")),
        ("audience: vip", ("cohort_id: c2", "writer, trait: vip")),
        ("audience: vip", ("cohort_id: c1, linked: true", "crm, trait: vip")),
        (
            "audience: vip, query: SELECT id WHERE not_churn_risk",
            ("cohort_id: c1, linked: true", "writer, trait: churn_risk"),
        ),
        (
            "audience: vip, built_on: [x_c11, c2]",
            ("cohort_id: c1, linked: true", "writer"),
        ),
    ],
)
def test_a_way_that_does_not_come_back_is_no_ring(
    tmp_path: Path, audience: str, down: tuple[str, str]
) -> None:
    up = (f"connection: engage, {audience}", UP[1])
    back = (f"connection: reader, {down[0]}", f"connection: {down[1]}")

    assert len(load_text(tmp_path, ways(up, back)).settings.syncs) == 2


def test_a_ring_of_four_syncs_is_found_whole(tmp_path: Path) -> None:
    syncs = ways(
        UP,
        (DOWN[0], "connection: writer, trait: churn"),
        (
            "connection: engage, audience: second, built_on: [churn]",
            "connection: reader, cohort_id: c2",
        ),
        (
            "connection: amplitude, cohort_id: c2, linked: true",
            "connection: engage, trait: vip",
        ),
    )

    (problem,) = problems(tmp_path, syncs)

    assert problem.line == FIRST + 14
    assert problem.message == (
        "this sync closes a ring: cohort c2 -> trait vip -> audience vip -> "
        "cohort c1 -> trait churn -> audience second -> cohort c2"
    )


def test_a_disabled_sync_closes_no_ring(tmp_path: Path) -> None:
    down = sync("b", DOWN[0], f"{DOWN[1]}, trait: vip", more="    enabled: false\n")

    assert len(load_text(tmp_path, ways(UP) + down).settings.syncs) == 2


def test_a_ring_is_found_beside_other_mistakes(tmp_path: Path) -> None:
    down = sync("b", DOWN[0], f"{DOWN[1]}, trait: vip", more="    jitter: 5\n")

    codes = [problem.code for problem in problems(tmp_path, ways(UP) + down)]

    assert codes == ["sync.ring", "duration.no_unit"]


def test_a_long_chain_is_searched_quickly() -> None:
    nodes = [Node(kind="audience", space="s", key=f"n{n}") for n in range(400)]
    edges = [
        Edge(sync=str(n), source=nodes[n], target=nodes[(n + 1) % 400])
        for n in range(400)
    ]

    (ring,) = rings(edges)

    assert ring.index == 399
    assert len(ring.nodes) == 401


def test_what_is_refused_closes_no_further_ring() -> None:
    nodes = [Node(kind="audience", space="s", key=f"n{n}") for n in range(3)]
    ways = [(0, 1), (1, 0), (0, 2), (2, 1)]
    edges = [Edge(sync=f"{a}{b}", source=nodes[a], target=nodes[b]) for a, b in ways]

    assert [ring.index for ring in rings(edges)] == [1]


def test_what_one_sync_says_of_an_audience_holds_for_all(tmp_path: Path) -> None:
    syncs = ways(
        ("connection: engage, audience: vip, built_on: [churn]", f"{UP[1]}0"),
        UP,
        (DOWN[0], f"{DOWN[1]}, trait: churn"),
    )

    (problem,) = problems(tmp_path, syncs)

    assert (problem.line, problem.code) == (FIRST + 10, "sync.ring")
    assert (
        problem.hint == "leave out one of them, or build the audience on other traits"
    )


def test_a_trait_feeds_only_audiences_of_its_space() -> None:
    trait = Node(kind="trait", space="a", key="vip")
    cohort = Node(kind="cohort", space="x", key="vip")

    here = Node(kind="audience", space="a", key="vip")
    elsewhere = Node(kind="audience", space="b", key="vip")

    assert feeds(trait, Edge(sync="s", source=here, target=cohort))
    assert not feeds(trait, Edge(sync="s", source=elsewhere, target=cohort))
    assert not feeds(cohort, Edge(sync="s", source=here, target=cohort))


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("Churn Risk", "churn_risk"),
        ("churnRisk", "churn_risk"),
        ("[Amplitude] Power Users (9xk2)", "amplitude_power_users_9xk2"),
        ("__a--b__", "a_b"),
        ("!!!", ""),
    ],
)
def test_a_trait_is_folded_as_warehouses_spell_columns(name: str, column: str) -> None:
    assert folded(name) == column


# ---- connections that do not say their space -----------------------------------------

SAY_SPACE = "say `space:` on both connections if they are different spaces"
CHURN = "connection: {}, audience: vip, built_on: [churn]"


@pytest.mark.parametrize(
    ("reads", "writes"),
    [
        ("engage", "free"),
        ("engage", "free-too"),
        ("read-only", "writer"),
        ("read-only", "free"),
    ],
)
def test_a_ring_is_refused_if_two_connections_may_be_one_space(
    tmp_path: Path, reads: str, writes: str
) -> None:
    up = (CHURN.format(reads), UP[1])
    down = (DOWN[0], f"connection: {writes}, trait: churn")

    for pairs in ((up, down), (down, up)):
        (problem,) = problems(tmp_path, ways(*pairs))

        assert (problem.line, problem.code) == (FIRST + 6, "sync.ring")
        assert problem.message.startswith("this sync closes a ring: ")
        assert problem.hint == SAY_SPACE


def test_connections_with_one_write_key_are_one_space(tmp_path: Path) -> None:
    up = (CHURN.format("engage"), UP[1])
    down = (DOWN[0], "connection: same-key, trait: churn")

    (problem,) = problems(tmp_path, ways(up, down))

    assert problem.code == "sync.ring"
    assert (
        problem.hint == "leave out one of them, or build the audience on other traits"
    )


def test_a_connection_with_the_key_of_a_space_may_be_no_other(tmp_path: Path) -> None:
    up = (CHURN.format("other-read"), UP[1])
    down = (DOWN[0], "connection: same-key, trait: churn")

    assert len(load_text(tmp_path, ways(up, down)).settings.syncs) == 2


def test_two_readings_of_an_audience_may_be_one(tmp_path: Path) -> None:
    syncs = ways(
        (CHURN.format("engage"), "connection: amplitude, cohort_id: c2"),
        ("connection: read-only, audience: vip", UP[1]),
        (DOWN[0], "connection: writer, trait: churn"),
    )

    (problem,) = problems(tmp_path, syncs)

    assert (problem.code, problem.hint) == ("sync.ring", SAY_SPACE)
    assert problem.message == (
        "this sync closes a ring: cohort c1 -> trait churn -> audience vip -> cohort c1"
    )


def test_a_ring_that_is_one_for_sure_is_told_first(tmp_path: Path) -> None:
    syncs = ways(
        UP,
        ("connection: read-only, audience: vip", "connection: reader, cohort_id: c2"),
        ("connection: amplitude, cohort_id: c2, linked: true", "connection: crm"),
        (DOWN[0], "connection: writer, trait: vip"),
    )

    (problem,) = problems(tmp_path, syncs)

    assert (
        problem.hint == "leave out one of them, or build the audience on other traits"
    )


@pytest.mark.parametrize(
    ("first", "second", "hint"),
    [
        ("engage", "free", SAY_SPACE),
        ("free", "free-too", SAY_SPACE),
        ("free-too", "elsewhere", SAY_SPACE),
        ("free-too", "same-key-too", "one trait, one sync: choose another trait"),
        ("writer", "same-key", "one trait, one sync: choose another trait"),
    ],
)
def test_a_trait_is_not_written_by_two_connections_that_may_be_one_space(
    tmp_path: Path, first: str, second: str, hint: str
) -> None:
    syncs = ways(
        ("connection: reader, cohort_id: c1", f"connection: {first}, trait: t"),
        ("connection: reader, cohort_id: c2", f"connection: {second}, trait: t"),
    )

    (problem,) = problems(tmp_path, syncs)

    assert (problem.line, problem.code) == (FIRST + 6, "target.shared")
    assert problem.message == "sync 'a' writes the same trait"
    assert problem.hint == hint


def test_what_may_be_one_space_is_still_told_apart_by_what_is_in_it(
    tmp_path: Path,
) -> None:
    syncs = ways(
        ("connection: reader, cohort_id: c1", "connection: free, trait: t"),
        ("connection: reader, cohort_id: c2", "connection: free-too, trait: u"),
        ("connection: reader, cohort_id: c3", "connection: crm, trait: t"),
        ("connection: reader, cohort_id: c4", "connection: free-too"),
        ("connection: engage, audience: vip, built_on: [v]", UP[1] + "0"),
    )

    assert len(load_text(tmp_path, syncs).settings.syncs) == 5


# ---- cohorts that are written by name ------------------------------------------------

NAMED = (CHURN.format("engage"), "connection: amplitude, cohort: Risky")
LINKED = "connection: {}, cohort_id: 1a2bc3d, linked: true"
CHURNED = "connection: {}, trait: churn"


def possible(folder: Path, syncs: str) -> list[Problem]:
    loaded = load_text(folder, syncs)
    return [one for one in loaded.warnings if one.code == "sync.ring_possible"]


@pytest.mark.parametrize("turned", [False, True])
def test_a_linked_cohort_may_be_one_that_is_written_by_name(
    tmp_path: Path, turned: bool
) -> None:
    down = (LINKED.format("reader"), CHURNED.format("writer"))
    up_name, line = ("b", FIRST + 1) if turned else ("a", FIRST + 5)

    (warning,) = possible(tmp_path, ways(*((down, NAMED) if turned else (NAMED, down))))

    assert (warning.line, warning.column) == (line, 43)
    assert warning.message == (
        f"if 1a2bc3d is the cohort that sync '{up_name}' writes, this is a ring: cohort"
        " 1a2bc3d -> trait churn -> audience vip -> cohort Risky -> cohort 1a2bc3d"
    )
    assert (
        warning.hint == "leave out one of them, or build the audience on other traits"
    )


def test_a_possible_ring_over_a_space_that_is_not_said_is_found(tmp_path: Path) -> None:
    down = (LINKED.format("reader"), CHURNED.format("free"))

    (warning,) = possible(tmp_path, ways(NAMED, down))

    assert warning.hint == SAY_SPACE


def test_each_sync_that_may_write_the_linked_cohort_is_named(tmp_path: Path) -> None:
    syncs = ways(
        NAMED,
        (CHURN.format("engage"), "connection: amplitude"),
        ("connection: engage, audience: else", "connection: amplitude"),
        (LINKED.format("reader"), CHURNED.format("writer")),
    )

    found = possible(tmp_path, syncs)

    assert {one.line for one in found} == {FIRST + 13}
    first, second = sorted(found, key=lambda one: one.message)
    assert "sync 'a' writes" in first.message
    assert "sync 'b' writes" in second.message
    assert second.message.endswith("-> cohort [Segment] vip -> cohort 1a2bc3d")


RICH = "connection: engage, audience: rich, built_on: [plan]"


def test_a_ring_over_two_named_cohorts_is_found(tmp_path: Path) -> None:
    syncs = ways(
        NAMED,
        (LINKED.format("reader"), "connection: writer, trait: plan"),
        (RICH, "connection: us, cohort: Rich, owner: ana@acme.example"),
        ("connection: us, cohort_id: c9, linked: true", CHURNED.format("writer")),
    )

    at_first, at_second = possible(tmp_path, syncs)

    assert (at_first.line, at_second.line) == (FIRST + 5, FIRST + 13)
    assert at_first.message == (
        "if c9 is the cohort that sync 'c' writes and 1a2bc3d is the cohort that sync "
        "'a' writes, this is a ring: cohort 1a2bc3d -> trait plan -> audience rich -> "
        "cohort Rich -> cohort c9 -> trait churn -> audience vip -> cohort Risky -> "
        "cohort 1a2bc3d"
    )


def test_one_cohort_is_not_taken_for_two(tmp_path: Path) -> None:
    syncs = ways(
        NAMED,
        (LINKED.format("reader"), "connection: writer, trait: plan"),
        (RICH, "connection: amplitude, cohort: Rich"),
        (LINKED.format("reader"), CHURNED.format("writer")),
    )

    at_first, at_second = possible(tmp_path, syncs)

    assert "if 1a2bc3d is the cohort that sync 'c' writes, this" in at_first.message
    assert "if 1a2bc3d is the cohort that sync 'a' writes, this" in at_second.message


WRITES_IT = (
    "connection: engage, audience: other",
    "connection: amplitude, cohort_id: 1a2bc3d",
)


@pytest.mark.parametrize(
    "pairs",
    [
        [NAMED, (LINKED.format("us"), CHURNED.format("writer"))],
        [NAMED, (LINKED.format("reader"), "connection: writer, trait: plan")],
        [NAMED, (LINKED.format("reader"), CHURNED.format("elsewhere"))],
        [NAMED, (LINKED.format("reader"), CHURNED.format("crm"))],
        [
            NAMED,
            (
                LINKED.format("reader").replace("true", "false"),
                CHURNED.format("writer"),
            ),
        ],
        # Here it is known who writes it.
        [NAMED, (LINKED.format("reader"), CHURNED.format("writer")), WRITES_IT],
        # The linked sync writes elsewhere, and the other exports no cohort of ours.
        [
            NAMED,
            (LINKED.format("reader"), "connection: lists"),
            ("connection: reader, cohort_id: 1a2bc3d", CHURNED.format("writer")),
        ],
    ],
)
def test_a_linked_cohort_that_closes_no_ring_is_no_warning(
    tmp_path: Path, pairs: list[tuple[str, str]]
) -> None:
    assert [one.message for one in possible(tmp_path, ways(*pairs))] == []


# ---- two writers ---------------------------------------------------------------------

COHORT = "connection: amplitude, cohort_id: {}"
AUDIENCE = "connection: engage, audience: {}"


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (
            (AUDIENCE.format("a"), "connection: amplitude, cohort_id: c1"),
            (AUDIENCE.format("b"), "connection: reader, cohort_id: c1"),
            "cohort",
        ),
        (
            (AUDIENCE.format("a"), "connection: amplitude"),
            (AUDIENCE.format("b"), "connection: amplitude, cohort: '[Segment] a'"),
            "cohort",
        ),
        (
            (COHORT.format("c1"), "connection: engage, trait: t"),
            (COHORT.format("c2"), "connection: writer, trait: t"),
            "trait",
        ),
        (
            (COHORT.format("c1"), "connection: engage"),
            ("connection: reader, cohort_id: c1", "connection: writer"),
            "trait",
        ),
        (
            (COHORT.format("c1"), "connection: crm, trait: t"),
            (COHORT.format("c2"), "connection: crm, trait: t"),
            "trait",
        ),
        (
            (COHORT.format("c1"), "connection: lists, list: l"),
            (COHORT.format("c2"), "connection: same-lists, list: l"),
            "list",
        ),
        (
            (COHORT.format("c1"), "connection: lists, list_id: 'L1'"),
            (COHORT.format("c2"), "connection: lists, list_id: 'L1'"),
            "list",
        ),
    ],
)
def test_two_syncs_never_write_one_target(
    tmp_path: Path, first: tuple[str, str], second: tuple[str, str], kind: str
) -> None:
    (problem,) = problems(tmp_path, ways(first, second))

    assert (problem.line, problem.code) == (FIRST + 6, "target.shared")
    assert problem.message == f"sync 'a' writes the same {kind}"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("connection: engage", "connection: engage"),
        ("connection: engage, trait: t", "connection: elsewhere, trait: t"),
        ("connection: engage, trait: t", "connection: third, trait: t"),
        ("connection: engage, trait: t", "connection: engage, trait: T"),
        ("connection: lists, list: l", "connection: lists, list_id: l"),
        ("connection: engage, trait: t", "connection: crm, trait: t"),
    ],
)
def test_different_targets_are_told_apart(
    tmp_path: Path, first: str, second: str
) -> None:
    pairs = (COHORT.format("c1"), first), (COHORT.format("c2"), second)

    assert len(load_text(tmp_path, ways(*pairs)).settings.syncs) == 2


def test_a_disabled_sync_may_name_the_same_target(tmp_path: Path) -> None:
    off = sync("b", AUDIENCE.format("b"), UP[1], more="    enabled: false\n")

    assert len(load_text(tmp_path, ways(UP) + off).settings.syncs) == 2


# ---- echoes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", ["connection: writer", "connection: lists", "connection: crm, trait: t"]
)
def test_a_cohort_that_we_write_is_not_exported(tmp_path: Path, target: str) -> None:
    down = ("connection: reader, cohort_id: c1", target)

    first, second = (problems(tmp_path, ways(*way)) for way in [(UP, down), (down, UP)])

    (problem,) = first
    assert (problem.line, problem.column, problem.code) == (
        FIRST + 5,
        43,
        "echo.cohort",
    )
    assert problem.message == "sync 'a' writes this cohort, so it is not exported"
    assert problem.hint == (
        "choose another cohort, or say 'linked: true' if it is meant"
    )
    assert [(one.line, one.code) for one in second] == [(FIRST + 1, "echo.cohort")]


def test_a_linked_cohort_is_exported(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, ways(UP, (DOWN[0], "connection: lists")))

    assert len(loaded.settings.syncs) == 2


def test_a_cohort_of_another_project_is_no_echo(tmp_path: Path) -> None:
    other = HEAD.replace(
        "reader: {type: amplitude, region: eu", "reader: {type: amplitude, region: us"
    )
    down = ("connection: reader, cohort_id: c1", "connection: lists")
    (tmp_path / "syncd.yaml").write_text(other + ways(UP, down))

    assert len(load([tmp_path / "syncd.yaml"], {}).settings.syncs) == 2


def test_a_ring_is_not_also_called_an_echo(tmp_path: Path) -> None:
    down = ("connection: reader, cohort_id: c1", "connection: writer, trait: vip")

    assert places(tmp_path, ways(UP, down)) == ["b.to sync.ring"]
