"""Who may see the page and press its buttons, as the files say it."""

from pathlib import Path

import pytest

from syncd.config import InvalidConfig, Loaded, SecretRef, load
from syncd.config.loader import load_with_places
from syncd.config.settings_admin import (
    BasicAuth,
    NoAuth,
    PageSettings,
    ProxyHeaderAuth,
)
from syncd.config.shown import shown

ELSEWHERE = "10.0.0.5:9090"
PROXY = "type: proxy_header, header: X-Email, trusted_proxies: [10.0.0.0/8]"
ANA = "users: {ana: {password_file: ana, operator: true}}"


def document(admin: str) -> str:
    """One sync; `web.admin` stands in line 2, its keys begin in column 15."""
    return (
        f"version: 1\nweb: {{admin: {{{admin}}}}}\nconnections:\n"
        "  engage: {type: engage, snapshot: {type: files, path: x.csv}}\n"
        "  amplitude: {type: amplitude, region: eu, app_id: 1, api_key_file: a,"
        " secret_key_file: b, owner: ana@acme.example}\n"
        "syncs:\n  - name: one\n    from: {connection: engage, audience: vip}\n"
        "    to: {connection: amplitude}\n    schedule: hourly\n"
    )


def load_text(folder: Path, admin: str, **environ: str) -> Loaded:
    (folder / "syncd.yaml").write_text(document(admin))
    return load([folder / "syncd.yaml"], environ)


def page(folder: Path, admin: str, **environ: str) -> PageSettings:
    return load_text(folder, admin, **environ).settings.web.page


def found(folder: Path, admin: str) -> list[str]:
    """`line:column code message; hint` of every error."""
    with pytest.raises(InvalidConfig) as caught:
        load_text(folder, admin)
    return [
        f"{one.line}:{one.column} {one.code} {one.message}; {one.hint}"
        for one in caught.value.problems
        if one.severity == "error"
    ]


# ---- what is resolved ----------------------------------------------------------------


def test_without_a_word_the_page_is_for_everybody_and_has_no_buttons(
    tmp_path: Path,
) -> None:
    settings = page(tmp_path, "")

    assert settings == PageSettings(base_url=None, actions="disabled", auth=NoAuth())


def test_people_who_sign_in_have_passwords_in_files_or_variables(
    tmp_path: Path,
) -> None:
    settings = page(
        tmp_path,
        "base_url: 'https://syncd.acme.example/', actions: enabled, auth: {type: basic,"
        " users: {ana: {password_file: ana, operator: true}, joe: {password_env: JOE}}"
        "}",
        JOE="joes-password",
    )

    assert settings.base_url == "https://syncd.acme.example"
    assert settings.actions == "enabled"
    assert isinstance(settings.auth, BasicAuth)
    users = settings.auth.users
    assert {name: user.operator for name, user in users.items()} == {
        "ana": True,
        "joe": False,
    }
    assert str(users["ana"].password) == "/run/secrets/ana"
    assert users["ana"].password.key == "web.admin.auth.users.ana.password_file"
    assert users["joe"].password.read() == "joes-password"


def test_a_proxy_names_people_in_a_header_from_known_networks(tmp_path: Path) -> None:
    settings = page(
        tmp_path,
        "actions: enabled, auth: {type: proxy_header, header: X-Forwarded-Email,"
        " trusted_proxies: [10.20.0.0/16, '::1'], operators: [ana@acme.example, joe]}",
    )

    assert settings.auth == ProxyHeaderAuth(
        header="x-forwarded-email",
        trusted_proxies=("10.20.0.0/16", "::1/128"),
        operators=("ana@acme.example", "joe"),
    )


def test_the_environment_says_where_the_page_is(tmp_path: Path) -> None:
    settings = page(
        tmp_path, "", SYNCD_WEB__ADMIN__BASE_URL="https://syncd.acme.example:8443"
    )

    assert settings.base_url == "https://syncd.acme.example:8443"


# ---- what is refused -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("admin", "expected"),
    [
        (
            "actions: enabled",
            (
                "2:24 key.missing 'actions: enabled' needs 'auth' of type basic or "
                "proxy_header; without it anybody who reaches the page could approve a "
                "plan"
            ),
        ),
        (
            "auth: {type: basic}",
            (
                "2:15 key.missing 'auth' of type basic needs 'users'; name who may "
                "sign "
                "in: users: {ana: {password_file: name}}"
            ),
        ),
        (
            "auth: {type: basic, users: {}}",
            (
                "2:35 key.missing 'auth' of type basic needs 'users'; name who may "
                "sign "
                "in: users: {ana: {password_file: name}}"
            ),
        ),
        (
            "auth: {type: proxy_header, header: X-Email}",
            (
                "2:15 key.missing 'auth' of type proxy_header needs 'trusted_proxies'; "
                "without it anybody could name themselves: [10.20.0.0/16]"
            ),
        ),
        (
            "auth: {type: proxy_header, header: X-Email, trusted_proxies: []}",
            (
                "2:59 key.missing 'auth' of type proxy_header needs 'trusted_proxies'; "
                "without it anybody could name themselves: [10.20.0.0/16]"
            ),
        ),
        (
            "auth: {type: proxy_header, trusted_proxies: [10.0.0.0/8]}",
            (
                "2:15 key.missing 'auth' of type proxy_header needs 'header'; the "
                "one in "
                "which the proxy names people: X-Forwarded-Email"
            ),
        ),
        (
            f"auth: {{{PROXY}, operators: ['*']}}",
            (
                "2:102 user.invalid this is not the name of one person; each as the "
                "proxy "
                "names them: ana or ana@acme.example"
            ),
        ),
        (
            f"auth: {{{PROXY}, operators: ['@acme.example']}}",
            (
                "2:102 user.invalid this is not the name of one person; each as the "
                "proxy "
                "names them: ana or ana@acme.example"
            ),
        ),
        (
            f"auth: {{{PROXY}, operators: ['group:oncall']}}",
            (
                "2:102 user.invalid this is not the name of one person; each as the "
                "proxy "
                "names them: ana or ana@acme.example"
            ),
        ),
        (
            "auth: {type: basic, users: {ana: {password_file: a}}, operators: [ana]}",
            (
                "2:69 key.misplaced 'operators' does not go with 'auth' of type "
                "basic; it "
                "belongs to type: proxy_header"
            ),
        ),
        (
            "auth: {users: {ana: {password_file: a}}}",
            (
                "2:22 key.misplaced 'users' does not go with 'auth' of type none; it "
                "belongs to type: basic"
            ),
        ),
        (
            "auth: {type: proxy_header, header: X-Me, trusted_proxies: [10.0.0.1/8]}",
            (
                "2:74 address.invalid this is not a network; like 10.20.0.0/16 or "
                "127.0.0.1/32, with no bit set behind the prefix"
            ),
        ),
        (
            "auth: {type: basic, users: {ana: {operator: true}}}",
            "2:43 key.missing 'ana' needs 'password_file' or 'password_env'; ",
        ),
        (
            "auth: {type: basic, users: {'a:b': {password_file: x}}}",
            "2:43 user.invalid Basic cannot carry a user with ':' in it; ",
        ),
        (
            "auth: {type: basics}",
            (
                "2:28 value.choice 'type' must be none or basic or proxy_header; "
                "did you "
                "mean 'basic'?"
            ),
        ),
        (
            "actions: enabled, listen: none, auth: {type: basic, " + ANA + "}",
            (
                "2:24 value.conflict 'actions: enabled' needs a page, and 'listen' "
                "is none;"
                " listen on 127.0.0.1:8081, or leave actions out"
            ),
        ),
        (
            "base_url: 'https://syncd.acme.example/status'",
            (
                "2:25 url.invalid the page has no path of its own; "
                "https://syncd.example.com"
            ),
        ),
        (
            "base_url: 'https://syncd.acme.example/?a=1'",
            "2:25 url.invalid this URL may hold only scheme, host, port and path; ",
        ),
        (
            "base_url: 'https://ana:secret@syncd.acme.example'",
            "2:25 url.invalid this URL may hold only scheme, host, port and path; ",
        ),
        (
            "base_url: 'http://syncd.acme.example'",
            (
                "2:25 url.insecure plain http would show keys to the network; use "
                "https; "
                "plain http only reaches this machine (127.0.0.1)"
            ),
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(
    tmp_path: Path, admin: str, expected: str
) -> None:
    assert found(tmp_path, admin) == [expected]


@pytest.mark.parametrize(
    "users",
    ["{ana: hunter2-hunter2}", "{ana: {password: hunter2-hunter2, operator: true}}"],
)
def test_a_password_in_plain_sight_is_refused_and_not_repeated(
    tmp_path: Path, users: str
) -> None:
    (only,) = found(tmp_path, f"auth: {{type: basic, users: {users}}}")

    assert " secret.inline " in only
    assert "password_file" in only
    assert "hunter2" not in only


@pytest.mark.parametrize(
    ("admin", "warned"),
    [
        (f"listen: '{ELSEWHERE}', token_file: t", ["2:23 auth.none"]),
        (f"listen: '{ELSEWHERE}', token_file: t, auth: {{type: basic, {ANA}}}", []),
        ("listen: '127.0.0.1:9090'", []),
        ("", []),
    ],
)
def test_a_page_that_everybody_sees_is_a_choice_to_review(
    tmp_path: Path, admin: str, warned: list[str]
) -> None:
    loaded = load_text(tmp_path, admin)

    assert [f"{one.line}:{one.column} {one.code}" for one in loaded.warnings] == warned


# ---- what is shown -------------------------------------------------------------------


def test_all_that_counts_is_shown_and_no_password(tmp_path: Path) -> None:
    path = tmp_path / "syncd.yaml"
    path.write_text(
        document(
            "auth: {type: basic, users: {ana: {password_env: ANA}, joe: {password_file:"
            " joe, operator: true}}}"
        )
    )

    loaded, root = load_with_places([path], {"ANA": "a-long-password"})
    values = {
        each.path: each.value
        for each in shown(loaded, root, resolved=True)
        if each.path.startswith("web.admin")
    }

    assert values == {
        "web.admin.listen": "127.0.0.1:8081",
        "web.admin.actions": "disabled",
        "web.admin.auth.type": "basic",
        "web.admin.auth.users.ana.password_env": "ANA",
        "web.admin.auth.users.ana.operator": False,
        "web.admin.auth.users.joe.password_file": "joe",
        "web.admin.auth.users.joe.operator": True,
    }
    assert "a-long-password" not in repr(loaded.settings)


def test_who_may_press_is_part_of_what_the_configuration_is(tmp_path: Path) -> None:
    without = load_text(tmp_path, f"auth: {{{PROXY}}}")
    with_ana = load_text(tmp_path, f"auth: {{{PROXY}, operators: [ana]}}")

    assert without.config_hash != with_ana.config_hash


def test_a_secret_is_only_ever_a_reference(tmp_path: Path) -> None:
    settings = page(tmp_path, "auth: {type: basic, " + ANA + "}")

    assert isinstance(settings.auth, BasicAuth)
    assert isinstance(settings.auth.users["ana"].password, SecretRef)
