"""What people look at: the pages, their buttons and the API, behind one sign-in."""

import hmac
from collections.abc import Sequence
from hashlib import sha256
from ipaddress import ip_network
from typing import assert_never
from urllib.parse import urlsplit

from starlette.routing import BaseRoute

from syncd.app.api import Documents
from syncd.app.board import StoreBoard
from syncd.app.engine import Engine
from syncd.app.pausing import Again
from syncd.app.pressing import Pressing
from syncd.app.vendors import secret_of
from syncd.config.inbound_values import is_loopback
from syncd.config.settings import Listen, Settings
from syncd.config.settings_admin import BasicAuth, NoAuth, PageSettings, ProxyHeaderAuth
from syncd.store import installation
from syncd.web.access import (
    LOOPBACK_NAMES,
    Access,
    BehindProxy,
    Everybody,
    People,
    Person,
    Rule,
)
from syncd.web.api import Api
from syncd.web.pages.actions import Buttons
from syncd.web.pages.routes import Pages
from syncd.web.refusals import Denied

_FORMS = b"forms of the page"
"""What the installation's key is used for here: no token is a hash in a log."""


class Front:
    """The routes for people. `stop` begins no answer and no action any more."""

    def __init__(
        self, engine: Engine, denied: Denied, listen: Listen, again: Again
    ) -> None:
        """At the address `listen`; `again` is called with a sync that was resumed."""
        self._engine = engine
        page = self._settings().web.page
        access = Access(
            rule_of(page, listen), denied, actions=page.actions == "enabled"
        )
        board = StoreBoard(engine.database, self._settings, engine.clock)
        self._pressing = Pressing(engine, again)
        self._buttons = Buttons(
            self._pressing,
            access,
            key=_key(engine),
            top=board.top,
            origin=page.base_url or "",
        )
        self._pages = Pages(board, extras=self._buttons.extras, guard=access.guard)
        documents = Documents(engine.database, self._settings, engine.clock)
        self._api = Api(documents.resources())
        self.routes: Sequence[BaseRoute] = [
            *self._buttons.routes,
            *self._pages.routes,
            *access.guarded(self._api.routes),
            self._pages.elsewhere,
        ]

    def stop(self) -> None:
        """Take nothing more; what was begun goes on with the engine."""
        for each in (self._buttons, self._pages, self._api, self._pressing):
            each.stop()

    def _settings(self) -> Settings:
        return self._engine.blueprint.settings


def rule_of(page: PageSettings, listen: Listen) -> Rule:
    """Who may see and press, as the files say it."""
    match page.auth:
        case NoAuth():
            own = urlsplit(page.base_url or "").hostname
            names = LOOPBACK_NAMES | ({own} if own else set())
            return Everybody(hosts=names if is_loopback(listen.host) else None)
        case BasicAuth(users=users):
            return People(
                users={
                    name: Person(
                        password=secret_of(user.password), operator=user.operator
                    )
                    for name, user in users.items()
                }
            )
        case ProxyHeaderAuth() as proxy:
            return BehindProxy(
                header=proxy.header,
                trusted=[ip_network(one) for one in proxy.trusted_proxies],
                operators=proxy.operators,
            )
        case _:
            assert_never(page.auth)


def _key(engine: Engine) -> bytes:
    """What forms are signed with: the same in every process of this installation."""
    with engine.database.read() as connection:
        key = installation.known_hash_key(connection)
    assert key is not None  # noqa: S101 - made when the store was opened
    return hmac.new(key, _FORMS, sha256).digest()
