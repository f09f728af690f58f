"""The events of Engage, in the shapes of contract section 4. Pure.

One event per identifier and change (E2). A message id is that of one change of one
identifier, so a retry, and a duplicate, carry the same.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from syncd.simulator.engage_world import Audience, Change, EngageWorld, Profile
from syncd.simulator.sender_settings import EngageSettings

Event = dict[str, Any]

ARRIVES = 868
"""Milliseconds from an event's time to its `receivedAt`."""
OTHERS = ("delete", "trait", "group", "journey_v1", "journey_v2", "test", "unmapped")
"""Events that are not the entry or exit of a member; `other_event` makes them."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes the events of one audience for one sender."""

    settings: EngageSettings
    audience: Audience

    def of_changes(
        self, world: EngageWorld, changes: Iterable[tuple[int, Change]]
    ) -> Iterator[Event]:
        """One event per identifier of each numbered change."""
        for number, change in changes:
            profile = world.profile(change.profile)
            for identifier in self._identifiers(profile, entered=change.entered):
                yield self._event(identifier, number, change)

    def _identifiers(
        self, profile: Profile, *, entered: bool
    ) -> Iterator[tuple[str, str]]:
        """Exits are told of every identifier, whatever the ID Sync says (E4)."""
        first_only = entered and self.settings.id_sync == "first"
        for one in profile.user_ids[: 1 if first_only else None]:
            yield "userId", one
        if self.settings.include_anonymous:
            for one in profile.anonymous_ids:
                yield "anonymousId", one

    def _event(self, identifier: tuple[str, str], number: int, change: Change) -> Event:
        kind, who = identifier
        head = {
            "messageId": self.message_id(who, number),
            "timestamp": instant(change.at),
            "receivedAt": instant(change.at + ARRIVES),
        }
        traits = dict(self.settings.traits)
        if kind == "userId" and self.settings.email:
            traits |= {"email": f"{who}@mail.example"}
        body = self._membership(traits, self._value(change.entered), change.entered)
        return body | {kind: who} | head | {"integrations": self._integrations()}

    def _membership(self, traits: Event, value: Any, entered: bool) -> Event:
        key, context = self.audience.key, {"personas": self.personas()}
        internal = {"__segment_internal": {"creator": "sync-worker"}}
        if self.settings.type == "identify":
            return {
                "type": "identify",
                "traits": {key: value, **traits},
                "context": context | internal,
            }
        mail = {"email": traits.pop("email")} if "email" in traits else {}
        return {
            "type": "track",
            "event": self.settings.entered if entered else self.settings.exited,
            "properties": {"audience_key": key, key: value, **traits},
            "context": context | {"traits": mail} | internal,
        }

    def _value(self, entered: bool) -> bool | str:
        if self.settings.value_as == "text":
            return "true" if entered else "false"
        return entered

    def personas(self, **more: Any) -> Event:
        """The block that says which audience an event is about (4.1)."""
        audience, settings = self.audience, self.settings
        block: Event = {
            "computation_class": "audience",
            "computation_id": audience.id,
            "computation_key": audience.key,
            "namespace": audience.space,
            "space_id": audience.space,
        }
        if settings.external_audience_id:
            block["external_audience_id"] = settings.external_audience_id
        if settings.audience_settings:
            block["audience_settings"] = settings.audience_settings
        return block | more

    def message_id(self, who: str, word: object) -> str:
        """`personas_` and 27 characters, as Segment's are; the same for the same."""
        about = f"{self.settings.seed}/{self.audience.id}/{who}/{word}"
        return f"personas_{hashlib.sha256(about.encode()).hexdigest()[:27]}"

    def _integrations(self) -> Event:
        return {"All": False, self.settings.integration: True}

    def other_event(self, kind: str, who: str, number: int, at: int) -> Event:
        """An event of OTHERS about one user; `at` in milliseconds since 1970."""
        head: Event = {
            "messageId": self.message_id(who, f"{kind}{number}"),
            "timestamp": instant(at),
        }
        match kind:
            case "delete":
                return {"type": "delete", "userId": who} | head
            case "trait":
                return self._computed_trait(who) | head
            case "group":
                return self._group(who) | head
            case "journey_v1":
                return self._journey_v1(who) | head
            case "journey_v2":
                return self._journey_v2(who) | head
            case "test":
                return self._test(who, number, at)
            case _:
                return {"user": who, "member": True} | head

    def _computed_trait(self, who: str) -> Event:
        block = self.personas(
            computation_class="trait",
            computation_id="tra_1",
            computation_key="order_count",
        )
        return {
            "type": "track",
            "event": "Trait Computed",
            "userId": who,
            "properties": {"trait_key": "order_count", "order_count": 7},
            "context": {"personas": block},
        }

    def _group(self, who: str) -> Event:
        """Of an account-level audience: one per account."""
        return {
            "type": "group",
            "groupId": "acme",
            "userId": who,
            "traits": {self.audience.key: True},
            "context": {"personas": self.personas()},
        }

    def _journey_v1(self, who: str) -> Event:
        """The value is a text; the documents' sample names no user, real ones do."""
        key = f"j_o_{self.audience.key}__x9"
        return {
            "type": "track",
            "event": "Audience Entered",
            "userId": who,
            "properties": {key: "true"},
            "context": {"personas": self.personas(computation_key=key)},
        }

    def _journey_v2(self, who: str) -> Event:
        """No boolean at all."""
        key = f"{self.audience.key}__nudge_1_a1"
        block = self.personas(
            computation_class="journey_step", computation_key=key, computation_id=key
        )
        return {
            "type": "track",
            "event": "Nudge 1",
            "userId": who,
            "properties": {
                "journey_context": {"signed_up": {"plan": "pro"}},
                "journey_metadata": {"journey_id": "jver_1", "epoch_id": "ep_1"},
            },
            "context": {"personas": block},
        }

    def _test(self, who: str, number: int, at: int) -> Event:
        """The event tester's: an entry that an emitter id marks."""
        event = self._event(("userId", who), number, Change(who, True, at))
        block = self.personas(event_emitter_id="event_tester_1")
        event["context"] = {**event["context"], "personas": block}
        event["messageId"] = self.message_id(who, f"test{number}")
        return event


def whole(members: Sequence[str], at: int) -> Iterator[Change]:
    """The entry of everybody, as a first connection or a resync tells it (E1)."""
    return (Change(one, True, at) for one in members)


def instant(milliseconds: int) -> str:
    """ISO 8601 with milliseconds and `Z`, as JavaScript writes it."""
    whole_seconds, rest = divmod(milliseconds, 1000)
    moment = datetime.fromtimestamp(whole_seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"
