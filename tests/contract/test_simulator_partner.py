"""Vendor page 1: a partner as the simulator plays it, over a real socket."""

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.simulated import simulating

KEY = "demo-partner-key"
TRAIT = "[Amplitude] Power Users: 9xk2"
CONTEXT = {"integration": {"name": "Amplitude Cohort Sync", "version": "1.0.0"}}


def update(user: str = "u-1", value: Any = True, **fields: Any) -> dict:
    """A single update as the page has it; a field given as None is left out."""
    body = {
        "type": "identify",
        "traits": {TRAIT: value},
        "userId": user,
        "context": CONTEXT,
    } | fields
    return {name: value for name, value in body.items() if value is not None}


@dataclass
class Partner:
    """The partner origin, with the right key, and the control origin."""

    api: httpx.Client
    control: httpx.Client

    def create(self, name: str = TRAIT) -> str:
        """Make a list; returns its id."""
        body = {"name": name, "context": CONTEXT}
        answer = self.api.post("/lists", json=body).raise_for_status()
        return str(answer.json()["listId"])

    def change(
        self, list_id: str, verb: str, ids: Iterable[str], **fields: Any
    ) -> httpx.Response:
        """An add or a remove as the page has it."""
        body = {"userIds": list(ids), "context": CONTEXT} | fields
        given = {name: value for name, value in body.items() if value is not None}
        return self.api.post(f"/lists/{list_id}/{verb}", json=given)

    def update(self, *updates: Any, **options: Any) -> httpx.Response:
        """One update, or a batch of several."""
        body = updates[0] if len(updates) == 1 else {"batch": list(updates)}
        return self.api.post("/property", json=body, **options)

    def post(self, path: str, body: Any) -> Any:
        """A control call that must work."""
        return self.control.post(path, json=body).raise_for_status().json()

    def get(self, path: str = "", **query: str) -> Any:
        """A control read below `/_sim/partner` that must work."""
        answer = self.control.get(f"/_sim/partner{path}", params=query)
        return answer.raise_for_status().json()

    def config(self, **switches: Any) -> None:
        """Set switches."""
        self.post("/_sim/config", switches)

    def members(self, list_id: str) -> set[str]:
        """Who is in a list, in truth."""
        return set(self.get(f"/lists/{list_id}/members")["ids"])

    def holders(self, value: str = "true") -> set[str]:
        """Users whose trait it is."""
        return set(self.get("/members", trait=TRAIT, value=value)["ids"])

    def log(self) -> list[dict[str, Any]]:
        """The request log."""
        answer = self.control.get("/_sim/log?ids=1").raise_for_status()
        return list(answer.json()["entries"])


@pytest.fixture(scope="module")
def partner_process() -> Iterator[Partner]:
    with simulating("--latency", "0") as running:
        origin = running.origins["partner"]
        with httpx.Client(base_url=origin, auth=(KEY, ""), timeout=10) as api:
            yield Partner(api, running.control)


@pytest.fixture
def partner(partner_process: Partner) -> Partner:
    """As it was when it started."""
    partner_process.post("/_sim/reset", {})
    return partner_process


# ---- credentials -----------------------------------------------------------------


@pytest.mark.parametrize("auth", [("wrong", ""), (KEY, "a-password"), ("", KEY)])
def test_a_wrong_key_or_a_password_is_a_401(partner, auth):
    response = partner.api.post(
        "/lists", json={"name": "x", "context": CONTEXT}, auth=auth
    )

    assert response.status_code == 401
    assert "bad api_key" in response.json()["error"]["message"]
    assert partner.get("/lists")["lists"] == []


def test_no_credentials_at_all_are_a_401_also_on_an_unknown_path(partner):
    with httpx.Client(base_url=partner.api.base_url) as bare:
        answers = [bare.post("/lists", json={}), bare.get("/nowhere")]

    assert [one.status_code for one in answers] == [401, 401]
    assert partner.api.get("/nowhere").status_code == 404
    assert partner.api.get("/lists").status_code == 405


def headers(key: str = KEY, app_id: str = "187520") -> dict[str, str]:
    """The credentials of the page's test call."""
    return {"api_key": key, "app_id": app_id}


@pytest.mark.parametrize(
    ("auth", "statuses"),
    [
        ("basic", [200, 401, 401, 401]),
        ("headers", [401, 200, 401, 401]),
        ("either", [200, 200, 401, 401]),
    ],
)
def test_credentials_are_taken_where_the_partner_wants_them(partner, auth, statuses):
    partner.post("/_sim/partner/setup", {"auth": auth})
    wrong = [headers(key="no"), headers(app_id="1")]

    with httpx.Client(base_url=partner.api.base_url) as bare:
        answers = [partner.update(update())] + [
            bare.post("/property", json=update(), headers=one)
            for one in (headers(), *wrong)
        ]

    assert [one.status_code for one in answers] == statuses


def test_the_page_s_test_call_is_understood_at_its_own_path(partner):
    partner.post("/_sim/partner/setup", {"auth": "headers", "app_id": "TEST_APP_ID"})
    body = {
        "traits": {"cohort name:123": True},
        "type": "identify",
        "userId": "test.user@email.com",
    }

    with httpx.Client(base_url=partner.api.base_url) as bare:
        response = bare.post(
            "/api/v1/integration/amplitude/cohort",
            json=body,
            headers=headers(app_id="TEST_APP_ID"),
        )

    assert response.status_code == 200
    held = partner.get("/user", user_id="test.user@email.com")["traits"]
    assert held == {"cohort name:123": True}


def test_no_key_is_shown_anywhere(partner):
    partner.post("/_sim/partner/setup", {"api_key": "a-key-of-my-own"})
    list_body = {"name": TRAIT, "context": CONTEXT}
    partner.api.post("/lists", json=list_body, auth=("a-key-of-my-own", ""))
    partner.api.post("/lists", json=list_body)

    pages = ["/_sim/log?ids=1", "/_sim/partner/bodies?last=9", "/_sim/partner/setup"]
    text = "".join(partner.control.get(page).text for page in pages)

    assert "a-key-of-my-own" not in text
    assert KEY not in text
    assert [one["status"] for one in partner.log()] == [200, 401]


# ---- lists -----------------------------------------------------------------------


def test_a_list_is_made_filled_and_emptied(partner):
    list_id = partner.create()

    statuses = [
        partner.change(list_id, "add", ["u-1", "u-2", "u-3"]).status_code,
        partner.change(list_id, "remove", ["u-2"]).status_code,
    ]

    assert statuses == [200, 200]
    assert partner.members(list_id) == {"u-1", "u-3"}
    (shown,) = partner.get("/lists")["lists"]
    assert (shown["name"], shown["members_count"]) == (TRAIT, 2)


def test_adding_a_member_again_and_removing_a_stranger_are_200(partner):
    list_id = partner.create()
    partner.change(list_id, "add", ["u-1"])

    again = partner.change(list_id, "add", ["u-1", "u-2"])
    stranger = partner.change(list_id, "remove", ["u-9"])

    assert [again.status_code, stranger.status_code] == [200, 200]
    assert partner.members(list_id) == {"u-1", "u-2"}
    assert [(one["added"], one["removed"]) for one in partner.log()[1:]] == [
        (1, 0),
        (1, 0),
        (0, 0),
    ]


FLAT = {"listId": "L1", "list_id": "L1"}


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        ("both", {**FLAT, "response": FLAT}),
        ("flat", FLAT),
        ("response", {"response": FLAT}),
        ("id", {"id": "L1"}),
    ],
)
def test_the_list_s_id_is_where_this_partner_has_it(partner, shape, body):
    partner.config(partner_list_answer=shape)

    response = partner.api.post("/lists", json={"name": TRAIT, "context": CONTEXT})

    assert (response.status_code, response.json()) == (200, body)


@pytest.mark.parametrize(("same", "lists"), [("same", 1), ("new", 2)])
def test_a_second_list_of_one_name_is_the_same_or_a_new_one(partner, same, lists):
    partner.config(partner_same_name=same)

    made = {partner.create(), partner.create()}

    assert len(made) == lists
    assert partner.create("another name") not in made


@pytest.mark.parametrize("verb", ["add", "remove"])
def test_an_unknown_list_is_a_404_that_names_it(partner, verb):
    list_id = partner.create()
    partner.control.delete(f"/_sim/partner/lists/{list_id}").raise_for_status()

    response = partner.change(list_id, verb, ["u-1"])

    assert response.status_code == 404
    assert response.json()["error"]["field"] == "listId"


def test_the_key_of_the_ids_can_be_set_up(partner):
    partner.post("/_sim/partner/setup", {"ids_key": "user_ids"})
    list_id = partner.create()

    right = partner.change(list_id, "add", [], userIds=None, user_ids=["u-1"])
    wrong = partner.change(list_id, "add", ["u-2"])

    assert [right.status_code, wrong.status_code] == [200, 400]
    assert wrong.json()["error"]["field"] == "user_ids"
    assert partner.members(list_id) == {"u-1"}


# ---- strict bodies ---------------------------------------------------------------


def with_integration(**fields: Any) -> dict:
    """A context that is not the page's."""
    return {"integration": CONTEXT["integration"] | fields}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"userIds": None}, "userIds"),
        ({"userIds": []}, "userIds"),
        ({"userIds": "u-1"}, "userIds"),
        ({"userIds": ["u-1", 7]}, "userIds[1]"),
        ({"userIds": ["u-1", ""]}, "userIds[1]"),
        ({"userIds": ["u"] * 10_001}, "userIds"),
        ({"context": None}, "context"),
        ({"context": {}}, "context.integration"),
        ({"context": {"integration": {}}}, "context.integration.name"),
        ({"context": with_integration(name="syncd")}, "context.integration.name"),
        ({"context": with_integration(version="2")}, "context.integration.version"),
        ({"context": with_integration(id=1)}, "context.integration.id"),
        ({"context": CONTEXT | {"library": {}}}, "context.library"),
        ({"messageId": "m-1"}, "messageId"),
    ],
)
def test_an_add_that_is_not_the_page_s_is_a_400_that_names_the_field(
    partner, fields, named
):
    list_id = partner.create()

    response = partner.change(list_id, "add", ["u-1"], **fields)

    error = response.json()["error"]
    assert (response.status_code, error["field"]) == (400, named)
    assert error["message"].startswith(f"{named}: ")
    assert partner.members(list_id) == set()


def test_ten_thousand_ids_are_not_too_many(partner):
    list_id = partner.create()

    response = partner.change(list_id, "add", [f"u-{n}" for n in range(10_000)])

    assert response.status_code == 200
    assert len(partner.members(list_id)) == 10_000


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"context": CONTEXT}, "name"),
        ({"name": "", "context": CONTEXT}, "name"),
        ({"name": TRAIT}, "context"),
        ({"name": TRAIT, "context": CONTEXT, "owner": "me"}, "owner"),
        ([], "body"),
    ],
)
def test_a_creation_that_is_not_the_page_s_makes_no_list(partner, body, named):
    response = partner.api.post("/lists", json=body)

    assert (response.status_code, response.json()["error"]["field"]) == (400, named)
    assert partner.get("/lists")["lists"] == []


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        (update(type="track"), "type"),
        (update(userId=None), "userId"),
        (update(userId=""), "userId"),
        (update(context=None), "context"),
        (update(context=with_integration(name="x")), "context.integration.name"),
        (update(traits={}), "traits"),
        (update(traits={"a": True, "b": True}), "traits"),
        (update(value="true"), f"traits.{TRAIT}"),
        (update(anonymousId="a"), "anonymousId"),
    ],
)
def test_an_update_that_is_not_the_page_s_is_a_400_and_nothing_is_set(
    partner, broken, named
):
    single = partner.update(broken)
    batch = partner.update(update("u-8"), broken)

    assert (single.status_code, batch.status_code) == (400, 400)
    assert single.json()["error"]["field"] == named
    assert batch.json()["error"]["field"] == f"batch[1].{named}"
    assert partner.get("/traits")["traits"] == []


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"batch": []}, "batch"),
        ({"batch": {}}, "batch"),
        ({"batch": [update()] * 10_001}, "batch"),
        ({"batch": [update()], "context": CONTEXT}, "context"),
        ({"batch": ["u-1"]}, "batch[0]"),
    ],
)
def test_a_batch_that_is_not_the_page_s_is_a_400(partner, body, named):
    response = partner.api.post("/property", json=body)

    assert (response.status_code, response.json()["error"]["field"]) == (400, named)


# ---- properties ------------------------------------------------------------------


def test_single_and_batch_updates_set_the_trait_of_each_user(partner):
    single = partner.update(update("u-1"))
    batch = partner.update(update("u-2"), update("u-3", False), update("u-1", False))

    assert [single.status_code, batch.status_code] == [200, 200]
    assert partner.holders() == {"u-2"}
    assert partner.holders("false") == {"u-1", "u-3"}
    assert partner.get("/traits")["traits"] == [{"name": TRAIT, "true": 1, "false": 2}]


def test_the_path_of_the_updates_can_be_set_up(partner):
    partner.post("/_sim/partner/setup", {"property_path": "/users/track"})

    moved = partner.api.post("/users/track", json=update())

    assert moved.status_code == 200
    assert partner.update(update()).status_code == 404


# ---- people ----------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 400])
def test_one_unknown_user_fails_the_whole_request(partner, status):
    partner.config(partner_knows_everybody=False, partner_unknown_user_status=status)
    partner.post("/_sim/partner/people", {"user_ids": ["u-1", "u-2"]})
    list_id = partner.create()

    mixed = partner.change(list_id, "add", ["u-1", "u-9"])
    known = partner.change(list_id, "add", ["u-2"])
    updates = partner.update(update("u-1"), update("u-9"))

    assert [mixed.status_code, known.status_code] == [status, 200]
    assert mixed.json()["error"]["message"] == "Invalid User ID"
    assert updates.status_code == status
    assert partner.members(list_id) == {"u-2"}
    assert partner.holders() == set()


def test_people_can_be_made_known_and_forgotten(partner):
    added = partner.post("/_sim/partner/people", {"user_ids": ["u-1", "u-2", "u-3"]})
    path = "/_sim/partner/people"
    some = partner.control.request("DELETE", path, json={"user_ids": ["u-1"]}).json()
    everybody = partner.control.delete(path).json()

    assert [one["total"] for one in (added, some, everybody)] == [3, 2, 0]


# ---- what is read afterwards -----------------------------------------------------


def test_the_last_bodies_can_be_read_to_the_letter(partner):
    text = '{ "userIds":["u-1"],\n"context":' + json.dumps(CONTEXT) + "}"
    list_id = partner.create()

    partner.api.post(
        f"/lists/{list_id}/add",
        content=text,
        headers={"content-type": "application/json"},
    )

    first, last = partner.get("/bodies", last="5")["bodies"]
    assert json.loads(first["body"]) == {"name": TRAIT, "context": CONTEXT}
    assert (last["body"], last["auth"]) == (text, "basic")
    assert last["content_type"] == "application/json"
    assert (last["endpoint"], last["path"]) == ("partner_add", "/lists/L1/add")
    assert partner.get("/bodies")["bodies"] == [last]


def test_lists_and_traits_are_compared_person_by_person(partner):
    list_id = partner.create()
    partner.change(list_id, "add", ["u-1", "u-2"])
    partner.update(update("u-1"), update("u-2"))
    expected = {"user_ids": ["u-1", "u-9"]}

    of_list = partner.post(f"/_sim/partner/lists/{list_id}/compare", expected)
    of_trait = partner.control.post(
        "/_sim/partner/compare", params={"trait": TRAIT}, json=expected
    ).json()
    text = partner.control.get(f"/_sim/partner/lists/{list_id}/members?format=text")

    assert of_list == of_trait
    assert (of_list["equal"], of_list["missing"], of_list["extra"]) == (False, 1, 1)
    assert (of_list["missing_sample"], of_list["extra_sample"]) == (["u-9"], ["u-2"])
    assert sorted(text.text.split()) == ["u-1", "u-2"]
    held = partner.get("/user", user_id="u-1")
    assert (held["traits"], held["lists"]) == ({TRAIT: True}, [list_id])


def test_the_log_has_the_order_of_requests_with_what_they_sent(partner):
    list_id = partner.create()
    partner.change(list_id, "add", ["u-1", "u-2"])
    partner.change(list_id, "remove", ["u-1"])
    partner.update(update("u-1"), update("u-2", False))

    made, added, removed, updated = partner.log()

    assert [one["endpoint"] for one in (made, added, removed, updated)] == [
        "partner_lists",
        "partner_add",
        "partner_remove",
        "partner_property",
    ]
    assert {one["cohort_id"] for one in (made, added, removed)} == {list_id}
    assert (added["operation"], added["id_count"]) == ("ADD", 2)
    assert removed["sent"][0]["ids"] == ["u-1"]
    assert (updated["operation"], updated["id_count"]) == ("MIXED", 2)
    assert updated["sent"][1] == {
        "operation": "REMOVE",
        "id_type": TRAIT,
        "ids": ["u-2"],
    }


def together(partner: Partner, count: int, *list_ids: str) -> list[int]:
    """That many adds to each list at the same time; their statuses."""
    wanted = [(list_id, n) for list_id in list_ids for n in range(count)]
    with ThreadPoolExecutor(len(wanted)) as pool:
        answers = pool.map(
            lambda one: partner.change(one[0], "add", [f"u-{one[1]}"]), wanted
        )
        return [one.status_code for one in answers]


def test_adds_to_one_list_may_run_side_by_side_and_are_counted(partner):
    first, second = partner.create("first"), partner.create("second")
    partner.post("/_sim/latency", {"partner_add": 0.3})

    statuses = together(partner, 3, first, second)

    lists = {one["id"]: one for one in partner.get("/lists")["lists"]}
    assert set(statuses) == {200}
    assert lists[first]["max_in_flight"] == lists[second]["max_in_flight"] == 3
    assert partner.get()["max_in_flight"] == 6
    assert len(partner.members(first)) == 3
    assert partner.control.get("/_sim/stats").json()["overlaps"] == 0


@pytest.mark.parametrize("retry_after", [None, 3])
def test_too_many_at_one_list_are_a_429_with_or_without_retry_after(
    partner, retry_after
):
    partner.config(partner_in_flight_per_list=1, partner_retry_after=retry_after)
    list_id = partner.create()
    partner.post("/_sim/latency", {"partner_add": 0.3})

    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(lambda one: partner.change(list_id, "add", [one]), ["u-1", "u-2"])
        )

    late = next(one for one in answers if one.status_code == 429)
    expected = None if retry_after is None else str(retry_after)
    assert late.headers.get("retry-after") == expected
    assert sorted(one.status_code for one in answers) == [200, 429]
    assert len(partner.members(list_id)) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/setup", {"auth": "oauth"}, 400),
        ("POST", "/setup", {"colour": "red"}, 400),
        ("POST", "/setup", {"ids_key": ""}, 400),
        ("GET", "/lists/L9/members", None, 404),
        ("DELETE", "/lists/L9", None, 404),
        ("GET", "/members", None, 400),
        ("GET", "/members?trait=t&value=1", None, 400),
        ("GET", "/bodies?last=all", None, 400),
    ],
)
def test_a_wrong_control_call_says_what_is_wrong(partner, method, path, body, status):
    response = partner.control.request(method, f"/_sim/partner{path}", json=body)

    assert response.status_code == status
    assert response.json()["error"]


@pytest.mark.parametrize(
    "switches",
    [
        {"partner_list_answer": "elsewhere"},
        {"partner_same_name": True},
        {"segment_success_body": "xml"},
        {"partner_retry_after": "soon"},
    ],
)
def test_a_switch_takes_its_own_words_only(partner, switches):
    response = partner.control.post("/_sim/config", json=switches)

    assert response.status_code == 400


# ---- R24: faults -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "ask"),
    [
        ("partner_lists", lambda partner: partner.create("another")),
        ("partner_add", lambda partner: partner.change("L1", "add", ["u-1"])),
        ("partner_remove", lambda partner: partner.change("L1", "remove", ["u-1"])),
        ("partner_property", lambda partner: partner.update(update())),
    ],
)
def test_r24_every_endpoint_has_its_own_faults(partner, endpoint, ask):
    partner.create()
    partner.post("/_sim/faults", {"endpoint": endpoint, "kind": "reset"})

    with pytest.raises(httpx.TransportError):
        ask(partner)

    assert partner.log()[-1]["fault"] == "reset"
    assert partner.get("/traits")["traits"] == []


def test_r24_a_fault_can_be_aimed_at_one_list(partner):
    first, second = partner.create("first"), partner.create("second")
    script = {"endpoint": "partner_add", "kind": "status", "status": 429}
    partner.post("/_sim/faults", script | {"cohort_id": second, "retry_after": 2})

    statuses = [
        partner.change(one, "add", ["u-1"]).status_code for one in (first, second)
    ]

    assert statuses == [200, 429]


@pytest.mark.parametrize(
    ("script", "status", "members"),
    [
        ({"kind": "status", "status": 503}, 503, set()),
        ({"kind": "status", "status": 502, "format": "html"}, 502, set()),
        ({"kind": "status", "status": 500, "apply": True}, 500, {"u-1"}),
        ({"kind": "html_200"}, 200, set()),
        ({"kind": "zero_byte"}, 200, set()),
        ({"kind": "late_commit", "after": 0}, 503, {"u-1"}),
    ],
)
def test_r24_a_wrong_answer_to_an_add(partner, script, status, members):
    list_id = partner.create()
    partner.post("/_sim/faults", {"endpoint": "partner_add"} | script)

    response = partner.change(list_id, "add", ["u-1"])
    partner.post("/_sim/late", {})

    assert response.status_code == status
    assert partner.members(list_id) == members


def test_r24_a_creation_may_take_effect_and_lose_its_answer(partner):
    fault = {"endpoint": "partner_lists", "kind": "hang_after", "seconds": 0.2}
    partner.post("/_sim/faults", fault | {"calls": [1]})

    with pytest.raises(httpx.TransportError):
        partner.create()

    assert [one["name"] for one in partner.get("/lists")["lists"]] == [TRAIT]


def test_r24_a_creation_may_answer_without_the_id(partner):
    partner.post(
        "/_sim/faults", {"endpoint": "partner_lists", "kind": "missing_result"}
    )

    response = partner.api.post("/lists", json={"name": TRAIT, "context": CONTEXT})

    assert (response.status_code, response.json()) == (200, {})


def test_reset_of_the_partner_alone_forgets_lists_traits_and_set_up(partner):
    partner.create()
    partner.update(update())
    partner.post("/_sim/partner/setup", {"auth": "either"})

    partner.post("/_sim/reset", {"only": ["partner"]})

    assert partner.get("/lists")["lists"] == []
    assert partner.get("/traits")["traits"] == []
    assert partner.get("/setup") == {
        "app_id": "187520",
        "auth": "basic",
        "ids_key": "userIds",
        "property_path": "/property",
    }
