"""The demo's customer: a folder with a warehouse, a configuration and made-up secrets.

Everything the demo makes lies in this one folder. The people are made up, and the same
in every demo of the same size.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from json import dumps
from pathlib import Path

from syncd.cli.demo_cohorts import CHURN_RISK, FEATURE_ADOPTERS, cohorts_among
from syncd.simulator import warehouse

CONFIG = """\
version: 1
instance: demo
secrets_dir: secrets
store: {{url: {store}}}
connections:   # fake ones; without base_url: the real ones
  engage: {{type: engage, snapshot: {{type: warehouse, url: {warehouse}}},
    write_key_file: segment_write_key, base_url: {segment}}}
  amplitude: {{type: amplitude, region: us, app_id: 187520, owner: {owner},
    api_key_file: amplitude_api_key, secret_key_file: amplitude_secret_key,
    base_url: {amplitude}, download_deadline: 1d}}
  ads: {{type: list_api, api_key_file: partner_key, base_url: {partner}}}
defaults: {{jitter: 0s, max_runtime: 2d}}
syncs:
  - name: power-users
    from: {{connection: engage, audience: power_users}}
    to: {{connection: amplitude, cohort: Power users}}
    schedule: hourly
  - name: trial-expiring
    from: {{connection: engage, audience: trial_expiring_7d}}
    to: {{connection: amplitude, cohort: Trial expiring}}
    schedule: hourly
  - name: churn-risk
    from: {{connection: amplitude, cohort_id: {churn_risk}, max_staleness: 3d}}
    to: {{connection: engage, trait: churn_risk}}
    schedule: hourly   # asks for free whether the cohort changed
    budget: 4/day      # and downloads it this often at most
  - name: feature-adopters
    from: {{connection: amplitude, cohort_id: {feature_adopters}, max_staleness: 3d}}
    to: {{connection: ads, list: Feature adopters}}
    schedule: hourly
    budget: 4/day
"""
"""No jitter, and room for a slow machine: an hour is over in two seconds, the quarter
of an hour that a download may take by default in half a second, the day after which an
unchanged cohort is downloaded anyway in 48."""

_SECRETS = {
    "amplitude_api_key": "demo-api-key",
    "amplitude_secret_key": "demo-secret-key",
    "segment_write_key": "demo-write-key",
    "partner_key": "demo-partner-key",
}
"""What the fake vendors want; they open nothing else."""

_ORIGINS = ("amplitude", "segment", "partner")
"""As the simulator calls those that the configuration names."""

_STRANGERS = (7, 2)
"""People of each audience whom Amplitude has never seen."""


@dataclass(slots=True, kw_only=True)
class Audience:
    """One audience, and who may be moved in and out of it."""

    key: str
    """As the warehouse calls it."""
    sync: str
    """As the configuration calls its sync."""
    members: list[str]
    strangers: list[str]
    """Members whom Amplitude does not know. They are never moved out."""
    newcomers: list[str]
    """Not members yet; Amplitude knows them."""
    gone: list[str] = field(default_factory=list)
    """Whom `World.shrink` took out."""


class World:
    """The folder, and who is in which audience and cohort."""

    def __init__(self, folder: Path, count: int) -> None:
        """`count` people in the first audience, a tenth of them in the second."""
        self.folder = folder.absolute()
        self.warehouse = self.folder / "warehouse.db"
        self.config = self.folder / "syncd.yaml"
        self.log = self.folder / "daemon.log"
        sizes = count, count // 10
        everybody = iter(warehouse.people(sum(sizes) * 11 // 10))
        self.audiences = [
            _audience(key, size, strangers, everybody)
            for key, size, strangers in zip(
                ("power_users", "trial_expiring_7d"), sizes, _STRANGERS, strict=True
            )
        ]
        self.cohorts = cohorts_among(self.known, count)

    @property
    def known(self) -> list[str]:
        """Everybody Amplitude knows from the start."""
        return [
            one
            for each in self.audiences
            for one in (*each.members[len(each.strangers) :], *each.newcomers)
        ]

    @property
    def strangers(self) -> list[str]:
        """Everybody Amplitude does not know at the start."""
        return [one for each in self.audiences for one in each.strangers]

    @property
    def syncs(self) -> list[str]:
        """The names of all syncs, in the order of the configuration."""
        audiences = [each.sync for each in self.audiences]
        return audiences + [each.sync for each in self.cohorts]

    def config_text(self, origins: Mapping[str, str]) -> str:
        """The whole configuration; `origins` are those of the fake vendors."""
        return CONFIG.format(
            store=dumps(f"sqlite:///{self.folder / 'syncd.db'}"),
            warehouse=dumps(f"sqlite:///{self.warehouse}"),
            owner="growth-ops@acme.example",
            churn_risk=CHURN_RISK,
            feature_adopters=FEATURE_ADOPTERS,
            **{name: dumps(origins[name]) for name in _ORIGINS},
        )

    def build_warehouse(self, at: datetime) -> None:
        """Make the warehouse file with both audiences."""
        warehouse.create(self.warehouse)
        for each in self.audiences:
            warehouse.enter(self.warehouse, each.key, each.members, at=at)

    def write_config(self, origins: Mapping[str, str]) -> None:
        """Write the configuration and the files with its secrets."""
        secrets = self.folder / "secrets"
        secrets.mkdir(mode=0o700)
        for name, value in _SECRETS.items():
            _write_private(secrets / name, value)
        _write_private(self.config, self.config_text(origins))

    def in_source(self, audience: Audience) -> set[str]:
        """Who is in the audience, as the warehouse itself says."""
        return warehouse.members(self.warehouse, audience.key)

    def move(self, audience: Audience, at: datetime) -> tuple[int, int]:
        """Let a few people enter and a few leave; returns how many of each."""
        enter = audience.newcomers[: max(len(audience.members) * 6 // 1000, 5)]
        leave = audience.members[-max(len(audience.members) * 4 // 1000, 3) :]
        del audience.newcomers[: len(enter)]
        del audience.members[-len(leave) :]
        # Newcomers go to the front, so that the next move takes others out.
        front = len(audience.strangers)
        audience.members[front:front] = enter
        warehouse.enter(self.warehouse, audience.key, enter, at=at)
        warehouse.leave(self.warehouse, audience.key, leave, at=at)
        return len(enter), len(leave)

    def shrink(self, audience: Audience, share: float, at: datetime) -> int:
        """Take this share of the members out; returns how many."""
        audience.gone = audience.members[-round(len(audience.members) * share) :]
        del audience.members[-len(audience.gone) :]
        warehouse.leave(self.warehouse, audience.key, audience.gone, at=at)
        return len(audience.gone)

    def repair(self, audience: Audience, at: datetime) -> None:
        """Put back whom `shrink` took out."""
        warehouse.enter(self.warehouse, audience.key, audience.gone, at=at)
        audience.members += audience.gone
        audience.gone = []


def _audience(
    key: str, size: int, strangers: int, everybody: Iterator[str]
) -> Audience:
    members = list(islice(everybody, size))
    return Audience(
        key=key,
        sync=key.removesuffix("_7d").replace("_", "-"),
        members=members,
        strangers=members[:strangers],
        newcomers=list(islice(everybody, max(size // 20, 10))),
    )


def _write_private(path: Path, text: str) -> None:
    """A file that only its owner may read, from its first byte on."""
    with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)
