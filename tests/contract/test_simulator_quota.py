"""R6-R8: what a download request is judged by, and what it costs."""

from concurrent.futures import ThreadPoolExecutor

import pytest

PROJECT = "/_sim/projects/187520"
NOON = "2026-05-12T12:00:00Z"


def started(sim, at=NOON) -> None:
    """A clock that stands still."""
    sim.post("/_sim/clock", {"freeze": True, "set": at})


def advance(sim, seconds) -> None:
    sim.post("/_sim/clock", {"advance": seconds})


def dynamic(sim, name="Power users", **fields) -> str:
    """A cohort that follows from behaviour, with one member unless told otherwise."""
    return str(sim.cohort(name, **{"type": "redshift", "members": ["ann-1"]} | fields))


def request(sim, cohort_id):
    return sim.api.get(f"/api/5/cohorts/request/{cohort_id}")


def usage(sim):
    return sim.api.get("/api/3/cohorts/usage").json()["rest_download"]


def project_stats(sim):
    return sim.get("/_sim/stats")["projects"]["187520"]


def patch(sim, **fields):
    return sim.control.patch(PROJECT, json=fields).raise_for_status().json()


def unhurried(sim) -> None:
    """Only the month's quota is left as a limit."""
    free = {"per_minute": 10**6, "per_10_minutes": 10**6, "running_jobs": 10**6}
    sim.post("/_sim/config", free)


def test_r7_a_202_counts_one_and_usage_shows_it_at_once(sim):
    started(sim)
    cohort_id = dynamic(sim)

    answer = request(sim, cohort_id)

    assert answer.status_code == 202
    assert set(answer.json()) == {"request_id", "cohort_id"}
    assert usage(sim) == {
        "limit": 500,
        "usage": 1,
        "resets_at": "2026-06-01T00:00:00",
    }
    assert project_stats(sim)["counted"] == 1
    entry = next(one for one in sim.log() if one["endpoint"] == "request")
    assert entry["counted"] is True
    assert entry["cohort_id"] == cohort_id
    assert entry["request_id"] == answer.json()["request_id"]


def test_r7_status_file_list_and_usage_cost_nothing(sim):
    started(sim)
    request_id = request(sim, dynamic(sim)).json()["request_id"]
    advance(sim, 45)

    sim.api.get(f"/api/5/cohorts/request-status/{request_id}").raise_for_status()
    sim.api.get(f"/api/5/cohorts/request/{request_id}/file").raise_for_status()
    sim.api.get("/api/3/cohorts").raise_for_status()

    assert usage(sim)["usage"] == 1
    counted = {one["endpoint"] for one in sim.log() if one["counted"]}
    assert counted == {"request"}


def test_r7_a_refused_request_costs_nothing_unless_a_switch_says_so(sim):
    started(sim)

    first = request(sim, "nobody00").status_code
    before = usage(sim)["usage"]
    sim.post("/_sim/config", {"count_failed_requests": True})
    request(sim, "nobody00")
    sim.post("/_sim/faults", {"endpoint": "request", "kind": "status", "status": 503})
    request(sim, dynamic(sim))

    assert (first, before) == (404, 0)
    assert usage(sim)["usage"] == 2
    stats = project_stats(sim)
    assert (stats["counted"], stats["failed_counted"]) == (0, 2)


def test_r7_a_request_of_somebody_without_credentials_never_counts(sim):
    sim.post("/_sim/config", {"count_failed_requests": True})
    wrong = ("demo-api-key", "wrong")

    answer = sim.api.get("/api/5/cohorts/request/nobody00", auth=wrong)

    assert answer.status_code == 403
    assert usage(sim)["usage"] == 0


def test_r7_the_month_is_utc_and_starts_anew(sim):
    started(sim, "2026-12-31T23:59:59Z")
    cohort_id = dynamic(sim)
    request(sim, cohort_id)
    old = usage(sim)

    advance(sim, 1)

    assert (old["usage"], old["resets_at"]) == (1, "2027-01-01T00:00:00")
    new = usage(sim)
    assert (new["usage"], new["resets_at"]) == (0, "2027-02-01T00:00:00")
    assert request(sim, cohort_id).status_code == 202
    stats = project_stats(sim)
    assert stats["counted_by_month"] == {"2026-12": 1, "2027-01": 1}
    assert (stats["most_in_a_month"], stats["most_in_60_seconds"]) == (1, 2)


def test_r6_r8_a_used_up_month_is_a_429_in_the_recorded_words(sim):
    started(sim)
    cohort_id = dynamic(sim)
    patch(sim, downloads_used=499)

    answers = [request(sim, cohort_id) for _ in range(2)]

    assert [one.status_code for one in answers] == [202, 429]
    error = answers[1].json()["error"]
    assert (error["http_code"], error["message"]) == (429, "Unspecified Error")
    assert error["metadata"]["details"].startswith("Too Many Requests: ")
    assert "retry-after" not in answers[1].headers
    assert usage(sim)["usage"] == 500
    assert project_stats(sim)["refused"]["month"] == 1
    assert [one["limit"] for one in sim.log()][1] == "month"


def test_r8_retry_after_by_switch(sim):
    patch(sim, download_limit=0)
    sim.post("/_sim/config", {"retry_after": 9})

    answer = request(sim, dynamic(sim))

    assert answer.headers["retry-after"] == "9"


def test_r6_four_starts_in_sixty_seconds(sim):
    started(sim)
    sim.post("/_sim/config", {"job_seconds": 1})
    cohort_id = dynamic(sim)
    for _ in range(4):
        assert request(sim, cohort_id).status_code == 202
        advance(sim, 10)

    advance(sim, 19.9)
    early = request(sim, cohort_id)
    advance(sim, 0.1)
    late = request(sim, cohort_id)

    assert (early.status_code, late.status_code) == (429, 202)
    stats = project_stats(sim)
    assert stats["refused"]["minute"] == 1
    assert stats["most_in_60_seconds"] == 4


def test_r6_four_running_jobs(sim):
    started(sim)
    sim.post("/_sim/config", {"job_seconds": 300})
    cohort_id = dynamic(sim)
    for _ in range(4):
        assert request(sim, cohort_id).status_code == 202
        advance(sim, 61)

    fifth = request(sim, cohort_id)
    advance(sim, 56)
    after = request(sim, cohort_id)

    assert (fifth.status_code, after.status_code) == (429, 202)
    stats = project_stats(sim)
    assert (stats["refused"]["running"], stats["most_running_jobs"]) == (1, 4)


def test_r6_sixty_requests_in_ten_minutes(sim):
    started(sim)
    sim.post("/_sim/config", {"job_seconds": 0, "per_minute": 1000})
    cohort_id = dynamic(sim)
    statuses = [request(sim, cohort_id).status_code for _ in range(61)]

    advance(sim, 600)

    assert statuses == [202] * 60 + [429]
    assert request(sim, cohort_id).status_code == 202
    stats = project_stats(sim)
    assert (stats["refused"]["ten_minutes"], stats["most_in_10_minutes"]) == (1, 60)


def test_r6_five_concurrent_requests_of_whatever_kind(sim):
    cohort_id = dynamic(sim)
    targets = [sim.cohort(f"c{number}") for number in range(5)]
    sim.users("bob-1")
    sim.post("/_sim/latency", {"membership": 1.0})
    with ThreadPoolExecutor(5) as pool:
        running = [pool.submit(sim.change, one, "ADD", ["bob-1"]) for one in targets]
        while sim.get("/_sim/stats")["in_flight"] < 5:
            continue

        refused = request(sim, cohort_id)
        answers = {one.result().status_code for one in running}

    assert refused.status_code == 429
    assert answers == {200}, "only downloads are refused"
    assert request(sim, cohort_id).status_code == 202
    stats = project_stats(sim)
    assert stats["refused"]["concurrent"] == 1
    assert stats["most_concurrent_requests"] == 6


def test_r6_concurrency_is_judged_after_the_month_and_before_the_cohort(sim):
    cohort_id = dynamic(sim)
    sim.post("/_sim/config", {"concurrent_requests": 1})
    sim.post("/_sim/latency", {"request": 1.0})
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(request, sim, cohort_id)
        while sim.get("/_sim/stats")["in_flight"] < 1:
            continue

        concurrent = request(sim, cohort_id)
        patch(sim, downloads_used=500)
        month = request(sim, cohort_id)
        patch(sim, downloads_used=0)
        sim.post("/_sim/config", {"concurrent_requests": 5})
        cohort = request(sim, cohort_id)
        assert running.result().status_code == 202

    assert {one.status_code for one in (concurrent, month, cohort)} == {429}
    limits = [one["limit"] for one in sim.log()]
    assert limits == [None, "concurrent", "month", "cohort"]


def test_r6_r23_a_cohort_serves_one_request_at_a_time(sim):
    cohort_id = dynamic(sim)
    sim.post("/_sim/latency", {"request": 0.4})
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(request, sim, cohort_id) for _ in range(2)]
        statuses = sorted(one.result().status_code for one in both)

    assert statuses == [202, 429]
    assert usage(sim)["usage"] == 1
    assert project_stats(sim)["refused"]["cohort"] == 1
    assert sim.get("/_sim/stats")["overlaps"] == 1


def test_r23_a_running_job_does_not_lock_its_cohort_nor_a_poll(sim):
    started(sim)
    cohort_id = dynamic(sim)
    first = request(sim, cohort_id).json()["request_id"]

    second = request(sim, cohort_id)

    assert second.status_code == 202
    assert sim.api.get(f"/api/5/cohorts/request-status/{first}").status_code == 202
    assert sim.get("/_sim/stats")["overlaps"] == 0


def test_r6_the_order_of_the_checks(sim):
    """What is refused first, while everything is wrong; then one thing less each."""
    started(sim)
    sim.post("/_sim/config", {"per_minute": 2, "per_10_minutes": 2, "running_jobs": 2})
    cohort_id = dynamic(sim, members=["ann-1", "bob-1"])
    for _ in range(2):
        assert request(sim, cohort_id).status_code == 202
    patch(sim, download_limit=2)
    sim.post("/_sim/config", {"max_download_size": 1, "too_large_status": 413})

    wrong = sim.api.get(f"/api/5/cohorts/request/{cohort_id}", auth=("x", "y"))
    unknown = request(sim, "nobody00")
    large = request(sim, cohort_id)
    sim.post("/_sim/config", {"max_download_size": 2})
    month = request(sim, cohort_id)
    patch(sim, download_limit=500)
    ten = request(sim, cohort_id)
    sim.post("/_sim/config", {"per_10_minutes": 60})
    minute = request(sim, cohort_id)
    sim.post("/_sim/config", {"per_minute": 4})
    running = request(sim, cohort_id)

    assert [one.status_code for one in (wrong, unknown, large)] == [403, 404, 413]
    assert {one.status_code for one in (month, ten, minute, running)} == {429}
    limits = [one["limit"] for one in sim.log() if one["status"] == 429]
    assert limits == ["month", "ten_minutes", "minute", "running"]
    assert project_stats(sim)["refused"] == {
        "month": 1,
        "ten_minutes": 1,
        "minute": 1,
        "running": 1,
        "concurrent": 0,
        "cohort": 0,
    }


def test_r6_a_cohort_that_is_too_large_is_refused_without_cost(sim):
    sim.post("/_sim/config", {"max_download_size": 2})
    cohort_id = dynamic(sim, members=["a-1", "b-1", "c-1"])

    answer = request(sim, cohort_id)

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid"
    assert usage(sim)["usage"] == 0


@pytest.mark.parametrize(
    ("switch", "fields"),
    [
        ("download_archived_status", {"archived": True}),
        ("group_download_status", {"count_group": "org", "members": ["acme"]}),
    ],
)
def test_r6_archived_and_group_cohorts_are_served_unless_a_switch_says_no(
    sim, switch, fields
):
    cohort_id = dynamic(sim, **fields)

    served = request(sim, cohort_id)
    sim.post("/_sim/config", {switch: 403})
    refused = request(sim, cohort_id)

    assert (served.status_code, refused.status_code) == (202, 403)


def test_a_second_spender_spends_at_once_and_never_more_than_is_left(sim):
    started(sim)
    patch(sim, downloads_used=480)

    shown = patch(sim, spend={"count": 50})

    assert (shown["downloads_used"], shown["spent_elsewhere"]) == (500, 20)
    assert request(sim, dynamic(sim)).status_code == 429
    assert project_stats(sim)["counted"] == 0


def test_a_second_spender_spends_by_the_clock_until_told_otherwise(sim):
    started(sim, "2026-05-30T00:00:00Z")
    patch(sim, spend={"count": 10, "every": 3600})

    advance(sim, 24 * 3600)
    may = usage(sim)["usage"]
    advance(sim, 25 * 3600)
    june = usage(sim)["usage"]
    shown = patch(sim, spend=None)
    advance(sim, 24 * 3600)

    assert (may, june, usage(sim)["usage"]) == (240, 20, 20)
    assert shown["downloads_by_month"] == {"2026-05": 470, "2026-06": 20}
    assert sim.get("/_sim/projects")["projects"][0]["spend"] is None


@pytest.mark.parametrize(
    "spend", [3, {"count": 0}, {"every": 5}, {"count": 1, "every": 0}, {"n": 1}]
)
def test_a_spend_that_makes_no_sense_is_refused(sim, spend):
    answer = sim.control.patch(PROJECT, json={"spend": spend})

    assert answer.status_code == 400


def test_two_projects_have_two_quotas(sim):
    other = {"app_id": 2, "api_key": "other-api-key", "secret_key": "other-secret"}
    sim.post("/_sim/projects", other)
    unhurried(sim)

    request(sim, dynamic(sim))
    theirs = sim.api.get(
        "/api/3/cohorts/usage", auth=("other-api-key", "other-secret")
    ).json()

    assert theirs["rest_download"]["usage"] == 0
    stats = sim.get("/_sim/stats")["projects"]
    assert (stats["187520"]["counted"], stats["2"]["counted"]) == (1, 0)


def test_a_reset_of_the_log_forgets_the_counters_and_not_the_quota(sim):
    request(sim, dynamic(sim))

    sim.post("/_sim/reset", {"only": ["log"]})

    assert project_stats(sim)["counted"] == 0
    assert usage(sim)["usage"] == 1


def test_r24_an_answer_lost_after_the_effect_has_been_paid_for(sim):
    sim.post("/_sim/faults", {"endpoint": "request", "kind": "reset", "apply": True})
    cohort_id = dynamic(sim)

    with pytest.raises(Exception, match=r"reset|disconnected|closed"):
        request(sim, cohort_id)

    assert usage(sim)["usage"] == 1
    (entry,) = [one for one in sim.log() if one["endpoint"] == "request"]
    assert (entry["counted"], entry["fault"]) == (True, "reset")


def test_r24_a_429_before_the_effect_costs_nothing(sim):
    sim.post(
        "/_sim/faults",
        {"endpoint": "request", "kind": "status", "status": 429, "retry_after": 3},
    )

    answer = request(sim, dynamic(sim))

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    details = answer.json()["error"]["metadata"]["details"]
    assert details.endswith("Exceeded rate limit with query of cost 1800")
    assert usage(sim)["usage"] == 0
    assert sim.get("/_sim/stats")["projects"]["187520"]["refused"]["month"] == 0
