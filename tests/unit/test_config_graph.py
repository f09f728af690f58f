"""Rings, two writers, echoes: what the graph of the syncs may not hold."""

from pathlib import Path

import pytest

from syncd.config import InvalidConfig, Loaded, load
from syncd.config.graph import Edge, Node, feeds, folded, rings
from syncd.errors import Problem

HEAD = """\
version: 1
connections:
  engage:
    {type: engage, space: spa, snapshot: {type: files, path: x}, write_key_file: k}
  writer: {type: engage, space: spa, write_key_file: k}
  elsewhere: {type: engage, space: other, write_key_file: k}
  amplitude: {type: amplitude, region: eu, app_id: 1, api_key_file: a,
    secret_key_file: b, owner: ana@acme.example}
  reader: {type: amplitude, region: eu, app_id: 1, api_key_file: a, secret_key_file: b}
  lists: {type: list_api, base_url: 'https://l.example', api_key_file: c}
  same-lists: {type: list_api, base_url: 'https://l.example', api_key_file: c}
  crm: {type: property_api, base_url: 'https://c.example', api_key_file: c}
syncs:
"""
FIRST = 14
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


def test_a_trait_feeds_only_audiences_of_its_space() -> None:
    trait = Node(kind="trait", space="a", key="vip")
    cohort = Node(kind="cohort", space="x", key="vip")

    for space, expected in (("a", True), ("b", False)):
        audience = Node(kind="audience", space=space, key="vip")
        assert feeds(trait, Edge(sync="s", source=audience, target=cohort)) is expected
    assert not feeds(cohort, Edge(sync="s", source=audience, target=cohort))


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
