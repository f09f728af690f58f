"""What the files say about the page, as the rule that its server goes by."""

from ipaddress import ip_network

import pytest

from syncd.app.front import rule_of
from syncd.config.secrets import SecretRef
from syncd.config.settings import Listen
from syncd.config.settings_admin import (
    BasicAuth,
    PageSettings,
    PageUser,
    ProxyHeaderAuth,
)
from syncd.web.access import BehindProxy, Everybody, People

HERE = Listen(host="127.0.0.1", port=8081)
WIDE = Listen(host="0.0.0.0", port=8081)  # noqa: S104 - a setting


def test_a_page_of_this_machine_knows_its_names() -> None:
    rule = rule_of(PageSettings(base_url="https://syncd.acme.example:8443"), HERE)

    assert isinstance(rule, Everybody)
    assert rule.hosts == {"localhost", "127.0.0.1", "::1", "syncd.acme.example"}


def test_a_page_of_the_network_is_asked_for_under_any_name() -> None:
    assert rule_of(PageSettings(), WIDE) == Everybody(hosts=None)


@pytest.mark.parametrize("listen", [HERE, WIDE])
def test_a_proxy_is_believed_from_its_networks(listen: Listen) -> None:
    auth = ProxyHeaderAuth(
        header="x-email", trusted_proxies=("10.0.0.0/8", "::1/128"), operators=("ana",)
    )

    assert rule_of(PageSettings(auth=auth), listen) == BehindProxy(
        header="x-email",
        trusted=[ip_network("10.0.0.0/8"), ip_network("::1/128")],
        operators=("ana",),
    )


def test_a_password_is_read_when_it_is_asked_for() -> None:
    words = {"ANA": "first-password"}
    secret = SecretRef(key="k", origin="f:1:1", env="ANA", lookup=words.get)
    auth = BasicAuth(users={"ana": PageUser(password=secret, operator=True)})

    rule = rule_of(PageSettings(auth=auth), HERE)
    words["ANA"] = "second-password"

    assert isinstance(rule, People)
    assert rule.users["ana"].operator
    assert rule.users["ana"].password() == "second-password"
    assert "password" not in repr(rule.users["ana"]).replace("Person", "")
