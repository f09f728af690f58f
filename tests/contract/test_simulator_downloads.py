"""R9-R12, R14, R15: request, status, file, and what a download does to a cohort."""

import csv
import gzip
import io
import time

import httpx
import orjson
import pytest

NOON = "2026-05-12T12:00:00Z"
NOON_EPOCH = 1778587200
DAY = 86_400


@pytest.fixture(autouse=True)
def still(sim):
    """A clock that stands still at noon, and only the month's quota as a limit."""
    sim.post("/_sim/clock", {"freeze": True, "set": NOON})
    free = {"per_minute": 10**6, "per_10_minutes": 10**6, "running_jobs": 10**6}
    sim.post("/_sim/config", free)


def advance(sim, seconds) -> None:
    sim.post("/_sim/clock", {"advance": seconds})


def dynamic(sim, members=("ann-1",), **fields) -> str:
    """A cohort that follows from behaviour."""
    return str(sim.cohort(type="redshift", members=members, **fields))


def switch(sim, **values) -> None:
    sim.post("/_sim/config", values)


def requested(sim, cohort_id) -> str:
    answer = sim.api.get(f"/api/5/cohorts/request/{cohort_id}")
    assert answer.status_code == 202
    return str(answer.json()["request_id"])


def status(sim, request_id):
    return sim.api.get(f"/api/5/cohorts/request-status/{request_id}")


def file(sim, request_id):
    return sim.api.get(f"/api/5/cohorts/request/{request_id}/file")


def downloaded(sim, cohort_id):
    """A whole download; the clock moves by the 45 s of a job."""
    request_id = requested(sim, cohort_id)
    advance(sim, 45)
    return file(sim, request_id).raise_for_status()


def rows(answer) -> list[list[str]]:
    return list(csv.reader(io.StringIO(answer.text, newline=""), strict=True))


def names(answer) -> list[str]:
    """The user ids of a plain file."""
    return [row[1] for row in rows(answer)[1:]]


# ---- request, status, file ----------------------------------------------------------


def test_r9_a_job_takes_45_seconds_of_the_clock(sim):
    cohort_id = dynamic(sim)
    request_id = requested(sim, cohort_id)

    advance(sim, 44.9)
    running = status(sim, request_id)
    advance(sim, 0.1)
    done = status(sim, request_id)

    told = {"request_id": request_id, "cohort_id": cohort_id}
    assert running.status_code == 202
    assert running.json() == told | {"async_status": "JOB INPROGRESS"}
    assert done.status_code == 200
    assert done.json() == told | {"async_status": "JOB COMPLETED"}
    entries = [one for one in sim.log() if one["endpoint"] == "status"]
    assert {one["cohort_id"] for one in entries} == {cohort_id}
    assert {one["request_id"] for one in entries} == {request_id}
    assert [one["counted"] for one in entries] == [False, False]


def test_r9_the_duration_of_a_job_is_a_switch(sim):
    switch(sim, job_seconds=0)

    request_id = requested(sim, dynamic(sim))

    assert status(sim, request_id).status_code == 200


@pytest.mark.parametrize(("failure", "answer"), [("JOB FAILED", 200), (500, 500)])
def test_r9_a_failed_job_has_no_file_and_moves_nothing(sim, failure, answer):
    cohort_id = dynamic(sim)
    before = sim.listed(cohort_id)
    switch(sim, job_failure=failure)
    request_id = requested(sim, cohort_id)
    switch(sim, job_failure=None)

    early = status(sim, request_id)
    advance(sim, 45)
    late = status(sim, request_id)

    assert early.json()["async_status"] == "JOB INPROGRESS"
    assert late.status_code == answer
    assert answer == 500 or late.json()["async_status"] == "JOB FAILED"
    assert file(sim, request_id).status_code == 404
    assert sim.listed(cohort_id) == before


def test_r10_a_request_id_is_valid_for_seven_days(sim):
    request_id = requested(sim, dynamic(sim))
    advance(sim, 7 * DAY)

    last = (status(sim, request_id), file(sim, request_id))
    advance(sim, 1)
    gone = (status(sim, request_id), file(sim, request_id))

    assert [one.status_code for one in last] == [200, 200]
    assert [one.status_code for one in gone] == [404, 404]
    assert gone[0].json()["error"]["metadata"]["details"] == "Request not found"
    switch(sim, expired_status=410)
    assert status(sim, request_id).status_code == 410


def test_r10_request_ids_of_nobody_and_of_another_project_are_unknown(sim):
    request_id = requested(sim, dynamic(sim))
    other = {"app_id": 2, "api_key": "other-api-key", "secret_key": "other-secret"}
    sim.post("/_sim/projects", other)
    theirs = ("other-api-key", "other-secret")

    answers = [
        status(sim, "zzzzzz"),
        file(sim, "zzzzzz"),
        sim.api.get(f"/api/5/cohorts/request-status/{request_id}", auth=theirs),
        sim.api.get(f"/api/5/cohorts/request/{request_id}/file", auth=theirs),
    ]

    assert [one.status_code for one in answers] == [404] * 4


def test_r10_two_requests_have_two_ids(sim):
    cohort_id = dynamic(sim)

    assert requested(sim, cohort_id) != requested(sim, cohort_id)


def test_r11_there_is_no_file_before_the_job_is_done(sim):
    request_id = requested(sim, dynamic(sim))

    early = file(sim, request_id)
    switch(sim, file_early_status=400)
    other = file(sim, request_id)

    assert early.status_code == 404
    assert early.json()["error"]["http_code"] == 404
    assert other.status_code == 400


def test_r12_a_small_file_comes_at_once_and_a_large_one_by_redirect(sim):
    small = dynamic(sim, {"prefix": "user-", "count": 1000})
    large = dynamic(sim, {"prefix": "user-", "count": 1001})
    first, second = requested(sim, small), requested(sim, large)
    advance(sim, 45)

    inline, redirect = file(sim, first), file(sim, second)

    assert inline.status_code == 200
    assert inline.headers["content-type"] == "text/csv"
    assert len(rows(inline)) == 1001
    assert (redirect.status_code, redirect.content) == (302, b"")
    assert "X-Amz-Signature=" in redirect.headers["location"]


def test_r12_every_file_may_be_a_redirect(sim):
    switch(sim, always_redirect=True)
    request_id = requested(sim, dynamic(sim))
    advance(sim, 45)

    links = [file(sim, request_id).headers["location"] for _ in range(2)]

    assert links[0] != links[1], "each 302 has a token of its own"


def test_the_download_calls_take_get_only_and_credentials(sim):
    request_id = requested(sim, dynamic(sim))
    paths = [
        f"/api/5/cohorts/request/{request_id}",
        f"/api/5/cohorts/request-status/{request_id}",
        f"/api/5/cohorts/request/{request_id}/file",
    ]

    posted = [sim.api.post(path).status_code for path in paths]
    strangers = [sim.api.get(path, auth=("x", "y")).status_code for path in paths]

    assert posted == [405] * 3
    assert strangers == [403] * 3


# ---- the file -----------------------------------------------------------------------


def test_r14_every_value_is_quoted_lines_end_with_lf_and_there_is_a_header(sim):
    cohort_id = dynamic(sim, ["ann-1"])
    number = sim.amplitude_ids("ann-1")["ann-1"]

    answer = downloaded(sim, cohort_id)

    assert answer.content == f'"amplitude_id","user_id"\n"{number}","ann-1"\n'.encode()
    assert answer.headers["content-encoding"] == "gzip"


def test_r14_anonymous_rows_duplicates_and_quotes(sim):
    crowd = {
        "user_ids": ['so "called"', "a,b", "ünïcode"],
        "prefix": "user-",
        "first": 7,
        "count": 2,
        "anonymous": 2,
        "duplicates": 2,
    }
    cohort_id = dynamic(sim, crowd)

    answer = downloaded(sim, cohort_id)

    named = ['so "called"', "a,b", "ünïcode", "user-7", "user-8"]
    assert sorted(names(answer)) == sorted([*named, 'so "called"', "a,b", "", ""])
    assert '"so ""called"""' in answer.text
    numbers = [row[0] for row in rows(answer)[1:]]
    assert len(set(numbers)) == len(numbers), "a duplicate has its own Amplitude ID"
    assert sim.listed(cohort_id)["size"] == 9


def test_r14_an_empty_cohort_is_a_header(sim):
    answer = downloaded(sim, dynamic(sim, []))

    assert answer.text == '"amplitude_id","user_id"\n'


def plain(sim, cohort_id) -> bytes:
    """The bytes of a file as sent, without the client's decoding."""
    request_id = requested(sim, cohort_id)
    advance(sim, 45)
    path = f"/api/5/cohorts/request/{request_id}/file"
    with sim.api.stream("GET", path) as answer:
        return b"".join(answer.iter_raw())


def test_r14_gzip_with_and_without_its_header(sim):
    cohort_id = dynamic(sim)
    text = downloaded(sim, cohort_id).content

    switch(sim, gzip="none")
    bare = downloaded(sim, cohort_id)
    switch(sim, gzip="raw")
    raw = downloaded(sim, cohort_id)
    switch(sim, gzip="twice")
    twice = downloaded(sim, cohort_id)

    assert "content-encoding" not in bare.headers
    assert bare.content == text
    assert "content-encoding" not in raw.headers
    assert gzip.decompress(raw.content) == text
    assert twice.headers["content-encoding"] == "gzip"
    assert gzip.decompress(twice.content) == text


def test_r14_tabs_mark_and_line_ends(sim):
    switch(sim, tab_prefix=True, bom=True, crlf=True, gzip="none")
    cohort_id = dynamic(sim, ["ann-1"])
    number = sim.amplitude_ids("ann-1")["ann-1"]

    body = plain(sim, cohort_id)

    text = f'"\t{"amplitude_id"}","\tuser_id"\r\n"\t{number}","\tann-1"\r\n'
    assert body == b"\xef\xbb\xbf" + text.encode()


def test_r14_more_columns_in_another_order_with_awkward_values(sim):
    switch(sim, column_order="user_id,amplitude_id", extra_columns="plan,notes")
    cohort_id = dynamic(sim, {"prefix": "user-", "count": 4})

    table = rows(downloaded(sim, cohort_id))

    assert table[0] == ["user_id", "amplitude_id", "plan", "notes"]
    assert {row[0] for row in table[1:]} == {f"user-{n}" for n in range(4)}
    values = {value for row in table[1:] for value in row[2:]}
    assert values == {"a, b", 'say "hi"', "line 1\nline 2", ""}


def test_r14_a_file_may_have_no_user_id(sim):
    switch(sim, column_order="amplitude_id")

    assert rows(downloaded(sim, dynamic(sim)))[0] == ["amplitude_id"]


def test_r14_a_group_cohort_has_group_values_behind_tabs(sim):
    cohort_id = dynamic(sim, ["acme"], count_group="org id")

    answer = downloaded(sim, cohort_id)

    assert answer.text == '"\tgroup_value"\n"\tacme"\n'


# ---- what a download and the clock do to a cohort -----------------------------------


def behave(sim, cohort_id, *steps, every=None):
    body = {"steps": list(steps), "recompute_every": every}
    return sim.post(f"/_sim/cohorts/{cohort_id}/behaviour", body)


def shown(sim, cohort_id):
    """lastComputed and size of the list."""
    listed = sim.listed(cohort_id)
    return listed["lastComputed"] - NOON_EPOCH, listed["size"]


def test_r15_the_truth_changes_and_the_list_does_not_say_so(sim):
    cohort_id = dynamic(sim, ["ann-1"])
    behave(sim, cohort_id, {"at": NOON_EPOCH + 60, "add": ["bob-1"]})

    advance(sim, 3600)

    assert sim.members(cohort_id) == {"ann-1", "bob-1"}
    assert shown(sim, cohort_id) == (0, 1)
    known = sim.get(f"/_sim/cohorts/{cohort_id}/members?computed=1")
    assert known["ids"] == ["ann-1"]
    assert sim.listed(cohort_id)["lastMod"] == NOON_EPOCH


def test_r15_a_completed_download_computes_the_cohort_anew(sim):
    cohort_id = dynamic(sim, ["ann-1"])
    step = {"at": NOON_EPOCH + 60, "add": ["bob-1"], "remove": ["ann-1"]}
    behave(sim, cohort_id, step, {"at": NOON_EPOCH + 110, "add": ["cyd-1", "dan-1"]})
    advance(sim, 100)
    request_id = requested(sim, cohort_id)

    running = shown(sim, cohort_id)
    advance(sim, 45)
    done = shown(sim, cohort_id)

    assert running == (0, 1), "only a completed download moves anything"
    assert done == (100, 1), "as of the request, whatever changed since"
    assert names(file(sim, request_id)) == ["bob-1"]
    assert sim.members(cohort_id) == {"bob-1", "cyd-1", "dan-1"}


def test_r9_the_snapshot_may_be_taken_at_completion(sim):
    switch(sim, snapshot_at="completion")
    cohort_id = dynamic(sim, ["ann-1"])
    behave(
        sim,
        cohort_id,
        {"at": NOON_EPOCH + 30, "add": ["bob-1"]},
        {"at": NOON_EPOCH + 50, "add": ["cyd-1"]},
    )
    request_id = requested(sim, cohort_id)

    advance(sim, 60)

    assert set(names(file(sim, request_id))) == {"ann-1", "bob-1"}
    assert shown(sim, cohort_id) == (45, 2)


def test_r15_a_download_may_leave_the_cohort_as_it_was_computed(sim):
    switch(sim, download_recomputes=False)
    cohort_id = dynamic(sim, ["ann-1"])
    behave(sim, cohort_id, {"at": NOON_EPOCH + 1, "add": ["bob-1"]})
    advance(sim, 10)

    answer = downloaded(sim, cohort_id)

    assert names(answer) == ["ann-1"]
    assert shown(sim, cohort_id) == (0, 1)


def test_r15_a_schedule_recomputes(sim):
    cohort_id = dynamic(sim, ["ann-1"])
    step = {"at": NOON_EPOCH + 3600, "members": ["bob-1", "cyd-1"]}
    behave(sim, cohort_id, step, every=3600)

    advance(sim, 3599)
    before = shown(sim, cohort_id)
    advance(sim, 1)
    at_once = shown(sim, cohort_id)
    advance(sim, 10 * 3600 + 5)
    later = shown(sim, cohort_id)

    assert before == (0, 1)
    assert at_once == (3600, 2), "a recompute at the time of a change sees it"
    assert later == (11 * 3600, 2)


def test_r15_a_step_may_recompute(sim):
    cohort_id = dynamic(sim, ["ann-1"])
    at = {"at": "2026-05-12T12:01:00Z"}

    told = behave(sim, cohort_id, at | {"add": ["bob-1"], "recompute": True})
    advance(sim, 61)

    assert told["steps_left"] == 1
    assert shown(sim, cohort_id) == (60, 2)
    assert sim.get(f"/_sim/cohorts/{cohort_id}/behaviour")["steps_left"] == 0


def test_r15_a_newer_computation_is_not_undone_by_an_older_download(sim):
    cohort_id = dynamic(sim, ["ann-1"])
    step = {"at": NOON_EPOCH + 20, "add": ["bob-1"], "recompute": True}
    behave(sim, cohort_id, step)
    request_id = requested(sim, cohort_id)

    advance(sim, 45)

    assert names(file(sim, request_id)) == ["ann-1"]
    assert shown(sim, cohort_id) == (20, 2)


def test_r15_a_static_cohort_is_downloaded_as_it_is_and_stays_so(sim):
    sim.users("ann-1", "bob-1")
    cohort_id = sim.cohort(members=["ann-1"])
    before = sim.listed(cohort_id)
    request_id = requested(sim, cohort_id)
    advance(sim, 45)

    unmoved = sim.listed(cohort_id)
    sim.change(cohort_id, "ADD", ["bob-1"])

    assert unmoved == before
    assert names(file(sim, request_id)) == ["ann-1"], "a snapshot of the request"


def test_a_static_cohort_with_a_script_is_uploaded_by_somebody_else(sim):
    cohort_id = sim.cohort(members=["ann-1"])
    behave(sim, cohort_id, {"at": NOON_EPOCH + 5, "members": ["bob-1", "cyd-1"]})

    advance(sim, 10)

    listed = sim.listed(cohort_id)
    assert (listed["size"], listed["lastMod"]) == (2, NOON_EPOCH + 5)
    assert sim.members(cohort_id) == {"bob-1", "cyd-1"}


def test_an_owner_changes_a_dynamic_cohort_with_and_without_a_recompute(sim):
    cohort_id = dynamic(sim, ["ann-1"])
    advance(sim, 10)
    place = f"/_sim/cohorts/{cohort_id}"

    quiet = sim.control.patch(place, json={"add": ["bob-1"], "recompute": False})
    after_quiet = shown(sim, cohort_id)
    sim.control.patch(place, json={"recompute": True}).raise_for_status()

    assert quiet.json()["members_count"] == 2
    assert quiet.json()["computed_count"] == 1
    assert after_quiet == (0, 1)
    assert shown(sim, cohort_id) == (10, 2)
    assert sim.listed(cohort_id)["lastMod"] == NOON_EPOCH


def test_a_script_ends_when_it_is_deleted(sim):
    cohort_id = dynamic(sim, ["ann-1"])
    behave(sim, cohort_id, {"at": NOON_EPOCH + 5, "add": ["bob-1"]}, every=60)

    ended = sim.control.delete(f"/_sim/cohorts/{cohort_id}/behaviour").json()
    advance(sim, 3600)

    assert (ended["steps_left"], ended["recompute_every"]) == (0, None)
    assert shown(sim, cohort_id) == (0, 1)
    assert sim.members(cohort_id) == {"ann-1"}


@pytest.mark.parametrize(
    "body",
    [
        {"steps": 3},
        {"steps": [{"add": ["a"]}]},
        {"steps": [{"at": "noon"}]},
        {"steps": [{"at": 1, "adds": []}]},
        {"steps": [{"at": 1, "add": {"prefix": 3, "count": 1}}]},
        {"steps": [{"at": 1, "recompute": "yes"}]},
        {"recompute_every": 0},
        {"recompute": 3},
    ],
)
def test_a_behaviour_that_makes_no_sense_is_refused(sim, body):
    cohort_id = dynamic(sim, ["ann-1"])

    answer = sim.control.post(f"/_sim/cohorts/{cohort_id}/behaviour", json=body)

    assert answer.status_code == 400


def test_people_who_are_deleted_leave_what_was_computed_too(sim):
    cohort_id = dynamic(sim, ["ann-1", "bob-1"])
    sim.control.request("DELETE", "/_sim/users", json={"user_ids": ["bob-1"]})

    known = sim.get(f"/_sim/cohorts/{cohort_id}/members?computed=1")["ids"]

    assert known == ["ann-1"]
    assert names(downloaded(sim, cohort_id)) == ["ann-1"]


# ---- faults -------------------------------------------------------------------------


def fault(sim, endpoint, kind, **options) -> None:
    script = {"endpoint": endpoint, "kind": kind, **options}
    sim.post("/_sim/faults", script)


def ready(sim, count=10) -> str:
    """The request id of a job that is done."""
    request_id = requested(sim, dynamic(sim, {"prefix": "user-", "count": count}))
    advance(sim, 45)
    return request_id


def test_r24_a_truncated_gzip_with_an_honest_length(sim):
    request_id = ready(sim)
    fault(sim, "file", "truncated", length="sent")

    path = f"/api/5/cohorts/request/{request_id}/file"
    with sim.api.stream("GET", path) as answer:
        sent = b"".join(answer.iter_raw())

    assert answer.status_code == 200
    assert answer.headers["content-encoding"] == "gzip"
    assert sent.startswith(b"\x1f\x8b")
    assert int(answer.headers["content-length"]) == len(sent)
    with pytest.raises(EOFError):
        gzip.decompress(sent)


def test_r24_a_short_file_is_well_formed(sim):
    switch(sim, extra_columns="notes")
    request_id = ready(sim, 100)
    fault(sim, "file", "short", keep=0.5)

    table = rows(file(sim, request_id))

    assert table[0] == ["amplitude_id", "user_id", "notes"]
    assert 40 < len(table) < 62
    assert {len(row) for row in table} == {3}


def test_r24_a_file_without_its_header(sim):
    request_id = ready(sim, 2)
    fault(sim, "file", "no_header")

    table = rows(file(sim, request_id))

    assert {row[1] for row in table} == {"user-0", "user-1"}


@pytest.mark.parametrize("endpoint", ["request", "status"])
def test_r24_another_request_id_or_cohort_in_the_answer(sim, endpoint):
    cohort_id = dynamic(sim)
    request_id = requested(sim, cohort_id)
    fault(sim, endpoint, "wrong_request", calls=[1])
    fault(sim, endpoint, "wrong_cohort", calls=[2])
    fault(sim, endpoint, "missing_result", calls=[3])
    paths = {
        "request": f"/api/5/cohorts/request/{cohort_id}",
        "status": f"/api/5/cohorts/request-status/{request_id}",
    }

    wrong, other, missing = (sim.api.get(paths[endpoint]) for _ in range(3))

    assert {one.status_code for one in (wrong, other, missing)} == {202}
    assert wrong.json()["request_id"] == "zzzzzz"
    assert wrong.json()["cohort_id"] == cohort_id
    assert other.json()["cohort_id"] == "zzzzzzz"
    assert "request_id" not in missing.json()


def test_r24_a_redirect_to_a_foreign_host(sim):
    request_id = ready(sim)
    fault(sim, "file", "redirect", location="http://elsewhere.example/file.csv")

    answer = file(sim, request_id)

    assert (answer.status_code, answer.content) == (302, b"")
    assert answer.headers["location"] == "http://elsewhere.example/file.csv"


@pytest.mark.parametrize(
    ("kind", "options", "status_code", "begins"),
    [
        ("zero_byte", {}, 200, b""),
        ("html_200", {}, 200, b"<!DOCTYPE html>"),
        ("waf_403", {}, 403, b'{"code":403'),
        ("status", {"status": 503, "format": "html"}, 503, b"<html>"),
        ("status", {"status": 429, "retry_after": 7}, 429, b'{"error"'),
    ],
)
@pytest.mark.parametrize("endpoint", ["status", "file"])
def test_r24_wrong_answers_of_status_and_file(
    sim, endpoint, kind, options, status_code, begins
):
    request_id = ready(sim)
    fault(sim, endpoint, kind, calls=[1], **options)
    ask = {"status": status, "file": file}[endpoint]

    wrong, right = ask(sim, request_id), ask(sim, request_id)

    assert wrong.status_code == status_code
    assert wrong.content[: len(begins) or None] == begins
    assert wrong.headers.get("retry-after") == ({429: "7"}.get(status_code))
    assert right.status_code == 200


@pytest.mark.parametrize(("kind", "counted"), [("hang_before", 0), ("hang_after", 1)])
def test_r24_a_request_hangs_before_or_after_its_effect(sim, kind, counted):
    cohort_id = dynamic(sim)
    fault(sim, "request", kind)

    with pytest.raises(httpx.ReadTimeout):
        sim.api.get(f"/api/5/cohorts/request/{cohort_id}", timeout=0.2)

    used = sim.api.get("/api/3/cohorts/usage").json()["rest_download"]["usage"]
    assert used == counted


def test_r24_a_file_breaks_off_with_a_reset(sim):
    request_id = ready(sim)
    fault(sim, "file", "reset", when="mid", apply=True)

    with pytest.raises(httpx.TransportError):
        file(sim, request_id)


def test_r24_a_request_commits_late(sim):
    cohort_id = dynamic(sim)
    fault(sim, "request", "late_commit", after=None)

    answer = sim.api.get(f"/api/5/cohorts/request/{cohort_id}")
    before = sim.api.get("/api/3/cohorts/usage").json()["rest_download"]["usage"]
    sim.post("/_sim/late", {})
    after = sim.api.get("/api/3/cohorts/usage").json()["rest_download"]["usage"]

    assert (answer.status_code, before, after) == (503, 0, 1)


def test_r24_a_fault_can_be_about_one_cohort_or_one_request(sim):
    first, second = ready(sim), ready(sim)
    cohort_id = status(sim, first).json()["cohort_id"]
    fault(sim, "status", "status", status=500, cohort_id=cohort_id)
    fault(sim, "file", "status", status=500, request_id=second)

    statuses = [status(sim, one).status_code for one in (first, second)]
    files = [file(sim, one).status_code for one in (first, second)]

    assert (statuses, files) == ([500, 200], [200, 500])


# ---- size ---------------------------------------------------------------------------


def test_a_crowd_is_made_of_a_few_numbers_and_moves_by_one_percent(sim):
    crowd = {"prefix": "user-", "count": 10_000, "anonymous": 10, "duplicates": 5}
    made = sim.post(
        "/_sim/cohorts", {"name": "Big", "type": "redshift", "generate": crowd}
    )
    place = f"/_sim/cohorts/{made['id']}"
    before = set(sim.get(f"{place}/members?as=amplitude_id")["ids"])

    moved = sim.control.patch(place, json={"generate": crowd | {"first": 100}})

    after = set(sim.get(f"{place}/members?as=amplitude_id")["ids"])
    assert made["members_count"] == moved.json()["members_count"] == 10_015
    named = sim.members(made["id"])
    assert named == {f"user-{number}" for number in range(100, 10_100)}
    assert len(after - before) == 105
    assert len(before - after) == 105


def test_a_file_of_200_000_rows_takes_moments_and_is_rendered_once(sim):
    cohort_id = dynamic(sim, {"prefix": "user-", "count": 200_000})
    switch(sim, inline_max_rows=1_000_000)
    request_id = requested(sim, cohort_id)
    advance(sim, 45)

    begun = time.monotonic()
    first = file(sim, request_id)
    rendered = time.monotonic() - begun
    again = file(sim, request_id)

    assert len(rows(first)) == 200_001
    assert rendered < 10
    assert again.content == first.content


def test_the_log_holds_neither_a_secret_nor_a_body(sim):
    request_id = ready(sim)
    file(sim, request_id)

    text = orjson.dumps(sim.log()).decode()

    assert "demo-secret-key" not in text
    assert "user-0" not in text
