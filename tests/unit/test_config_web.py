"""Where the servers listen, who may reach them, and what is refused."""

from pathlib import Path

import pytest

from syncd.config import Listen, WebSettings
from syncd.config.inbound_values import address_of, is_loopback
from tests.unit.config_text import found, load_text, problems

INBOX = "inbox: {secret_file: inbox_secret}"
LISTS = "snapshot: {type: files, path: x.csv}"
PUSH = "push: {webhook_secret_file: push_secret}"


def document(web: str = "", *, engage: str = INBOX, amplitude: str = "") -> str:
    """One sync from Engage; `web` stands in line 3 and below."""
    return (
        f"version: 1\nlog: {{level: info}}\n{web}\nconnections:\n"
        f"  engage:\n    type: engage\n    {engage}\n"
        "  amplitude:\n    type: amplitude\n    region: eu\n    app_id: 1\n"
        "    api_key_file: a\n    secret_key_file: b\n    owner: ana@acme.example\n"
        f"    {amplitude}\n"
        "syncs:\n  - name: one\n    from: {connection: engage, audience: vip}\n"
        "    to: {connection: amplitude}\n    schedule: hourly\n"
    )


def web(folder: Path, text: str, **environ: str) -> WebSettings:
    return load_text(folder, text, **environ).settings.web


# ---- what is resolved ----------------------------------------------------------------


def test_without_a_word_senders_reach_8080_and_this_machine_8081(
    tmp_path: Path,
) -> None:
    assert web(tmp_path, document()) == WebSettings(
        inbound=Listen(host="0.0.0.0", port=8080),  # noqa: S104 - the default
        admin=Listen(host="127.0.0.1", port=8081),
        admin_token=None,
        max_connections=1000,
    )


@pytest.mark.parametrize(
    ("engage", "amplitude", "open_"),
    [
        (LISTS, "", False),
        (INBOX, "", True),
        (LISTS, PUSH, True),
        (INBOX, PUSH, True),
    ],
)
def test_the_inbound_port_is_open_only_for_somebody_who_sends(
    tmp_path: Path, engage: str, amplitude: str, *, open_: bool
) -> None:
    text = document(
        "web: {inbound: {listen: '127.0.0.1:9000'}}",
        engage=engage,
        amplitude=amplitude,
    )

    assert (web(tmp_path, text).inbound is not None) is open_


def test_the_files_say_where_to_listen(tmp_path: Path) -> None:
    text = document(
        "web:\n"
        "  inbound: {listen: '[::]:8443', max_connections: 50}\n"
        "  admin: {listen: '10.0.0.5:9090', token_file: admin_token}"
    )

    settings = web(tmp_path, text)

    assert settings.inbound == Listen(host="::", port=8443)
    assert settings.admin == Listen(host="10.0.0.5", port=9090)
    assert settings.max_connections == 50
    assert str(settings.admin_token) == "/run/secrets/admin_token"


def test_the_admin_server_can_be_switched_off(tmp_path: Path) -> None:
    settings = web(tmp_path, document("web: {admin: {listen: none}}"))

    assert settings.admin is None


def test_the_environment_says_where_to_listen_without_a_word_in_the_files(
    tmp_path: Path,
) -> None:
    settings = web(
        tmp_path,
        document(),
        SYNCD_WEB__ADMIN__LISTEN="127.0.0.1:0",
        SYNCD_WEB__INBOUND__LISTEN="[::1]:0",
        SYNCD_WEB__INBOUND__MAX_CONNECTIONS="7",
    )

    assert settings.admin == Listen(host="127.0.0.1", port=0)
    assert settings.inbound == Listen(host="::1", port=0)
    assert settings.max_connections == 7


def test_the_environment_lays_over_the_files(tmp_path: Path) -> None:
    text = document("web: {admin: {listen: '127.0.0.1:9000', token_env: TOKEN}}")

    settings = web(tmp_path, text, SYNCD_WEB__ADMIN__LISTEN="none", TOKEN="hush-hush")

    assert settings.admin is None
    assert settings.admin_token is not None
    assert settings.admin_token.read() == "hush-hush"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("0.0.0.0:8080", "0.0.0.0", 8080),  # noqa: S104 - read, not listened at
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("[::]:8080", "::", 8080),
        ("[::1]:65535", "::1", 65_535),
        ("localhost:80", "localhost", 80),
        ("syncd-0.internal:80", "syncd-0.internal", 80),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert address_of(text) == Listen(host=host, port=port)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),  # noqa: S104 - asked about, not listened at
        ("::", False),
        ("10.0.0.1", False),
        ("128.0.0.1", False),
        ("localhost.example", False),
    ],
)
def test_only_this_machine_reaches_a_loopback_address(
    host: str, *, expected: bool
) -> None:
    assert is_loopback(host) is expected


# ---- what is wrong with it -----------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "'8080'",
        "':8080'",
        "1.2.3.4",
        "'0.0.0.0:65536'",
        "'::1:8080'",
        "'[::1]'",
        "'[127.0.0.1]:8080'",
        "'[nonsense]:8080'",
        "'1.2.3:8080'",
        "'999.0.0.1:8080'",
        "'a_b:8080'",
        "'http://0.0.0.0:8080'",
        "'-x:8080'",
        "8080",
        "off",
    ],
)
@pytest.mark.parametrize("server", ["inbound", "admin"])
def test_what_is_no_address_is_refused(
    tmp_path: Path, server: str, address: str
) -> None:
    text = document(f"web:\n  {server}:\n    listen: {address}")

    (problem,) = problems(tmp_path, text)

    assert (problem.line, problem.column) == (5, 13)
    assert (problem.code, problem.message) == (
        "address.invalid",
        "this is not an address",
    )
    assert problem.hint == "host:port, like 127.0.0.1:8081 or [::1]:8081"


def test_an_empty_address_is_the_default(tmp_path: Path) -> None:
    settings = web(tmp_path, document("web:\n  admin:\n    listen:"))

    assert settings.admin == Listen(host="127.0.0.1", port=8081)


@pytest.mark.parametrize(
    "address", ["0.0.0.0:8081", "[::]:8081", "10.0.0.5:0", "metrics.internal:8081"]
)
def test_an_admin_server_that_others_reach_has_a_token(
    tmp_path: Path, address: str
) -> None:
    bare = document(f"web:\n  admin:\n    listen: '{address}'")
    with_token = bare.replace("admin:\n", "admin:\n    token_env: TOKEN\n")

    assert found(tmp_path, bare) == [
        (
            "5:13 key.missing 'web.admin' needs 'token_file' or 'token_env': "
            "others reach it"
        )
    ]
    assert web(tmp_path, with_token).admin_token is not None


def test_a_variable_that_opens_the_admin_server_is_named(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, document(), SYNCD_WEB__ADMIN__LISTEN="0.0.0.0:8081")

    assert (problem.code, problem.file) == ("key.missing", "$SYNCD_WEB__ADMIN__LISTEN")


def test_a_token_does_not_stand_in_a_file(tmp_path: Path) -> None:
    inline = document("web:\n  admin: {listen: '0.0.0.0:8081', token: hush}")
    two = document("web:\n  admin: {token_file: a, token_env: B}")

    assert found(tmp_path, inline) == [
        "4:35 secret.inline 'token' may not stand in a config file"
    ]
    assert found(tmp_path, two) == [
        "4:3 key.exclusive 'admin' takes only one of 'token_file' or 'token_env'"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "web:\n  inbound: {listen: '0.0.0.0:8081'}",
            "4:21 port.shared 'web.inbound' and 'web.admin' both listen on port 8081",
        ),
        (
            "web:\n  admin: {listen: '127.0.0.1:8080'}",
            "4:19 port.shared 'web.inbound' and 'web.admin' both listen on port 8080",
        ),
        (
            "web:\n  admin: {listen: '[::1]:90'}\n  inbound: {listen: '[::]:90'}",
            "5:21 port.shared 'web.inbound' and 'web.admin' both listen on port 90",
        ),
    ],
)
def test_each_server_has_a_port_of_its_own(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert found(tmp_path, document(text)) == [expected]


def test_a_port_is_shared_only_by_servers_that_run(tmp_path: Path) -> None:
    shared = "web: {admin: {listen: '127.0.0.1:8080'}}"
    off = "web: {admin: {listen: none}, inbound: {listen: '0.0.0.0:8081'}}"
    free = "web: {admin: {listen: '127.0.0.1:0'}, inbound: {listen: '127.0.0.1:0'}}"

    assert web(tmp_path, document(shared, engage=LISTS)).inbound is None
    assert web(tmp_path, document(off)).admin is None
    assert web(tmp_path, document(free)).inbound == Listen(host="127.0.0.1", port=0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web: {base_url: x}", "3:7 key.unknown unknown key 'base_url'"),
        (
            "web: {inbound: {token_file: x}}",
            "3:17 key.unknown unknown key 'token_file'",
        ),
        (
            "web: {inbound: {max_connections: 0}}",
            "3:34 value.range 'max_connections' must be at least 1",
        ),
        (
            "web: {inbound: {max_connections: many}}",
            "3:34 value.type 'max_connections' needs a whole number",
        ),
        ("web: [x]", "3:6 value.type 'web' needs a map"),
        ("web: {inbound: x}", "3:16 value.type 'inbound' needs a map"),
    ],
)
def test_what_does_not_exist_is_refused_with_its_place(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert found(tmp_path, document(text)) == [expected]


def test_a_near_miss_is_told_what_was_meant(tmp_path: Path) -> None:
    inbound = problems(tmp_path, document("web: {inbound: {listn: 'a:1'}}"))
    server = problems(tmp_path, document("web: {imbound: {listen: 'a:1'}}"))

    assert [one.hint for one in inbound] == ["did you mean 'listen'?"]
    assert [one.hint for one in server] == ["did you mean 'inbound'?"]
