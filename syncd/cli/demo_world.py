"""The demo's customer: a folder with a warehouse, a configuration and made-up secrets.

Everything the demo makes lies in this one folder. The people are made up, and the same
in every demo of the same size.
"""

import os
from collections.abc import Mapping
from json import dumps
from pathlib import Path

from syncd.cli.demo_audiences import Audience, audiences_among
from syncd.cli.demo_cohorts import CHURN_RISK, FEATURE_ADOPTERS, cohorts_among
from syncd.simulator import warehouse

CONFIG = """\
version: 1
instance: demo
secrets_dir: secrets
store: {{url: {store}}}
web: {{inbound: {{listen: "127.0.0.1:0"}},   # port 0: any that is free
  admin: {{listen: "127.0.0.1:0"}}}}
connections:   # fake ones; without base_url: the real ones
  engage: {{type: engage, snapshot: {{type: warehouse, url: {warehouse}}},
    inbox: {{secret_file: webhook_secret, second_factor: {{file: webhook_key}}}},
    write_key_file: segment_write_key, base_url: {segment}}}
  amplitude: {{type: amplitude, region: us, app_id: 187520, owner: {owner},
    api_key_file: amplitude_api_key, secret_key_file: amplitude_secret_key,
    push: {{api_key_file: amplitude_push_key}},
    base_url: {amplitude}, download_deadline: 1d}}
  ads: {{type: list_api, api_key_file: partner_key, base_url: {partner}}}
defaults: {{jitter: 0s, max_runtime: 2d}}
syncs:
  - name: power-users
    from: {{connection: engage, audience: power_users, via: snapshot}}
    to: {{connection: amplitude, cohort: Power users}}
    schedule: hourly
  - name: trial-expiring
    from: {{connection: engage, audience: trial_expiring_7d, via: inbox}}
    to: {{connection: amplitude, cohort: Trial expiring}}
    schedule: every 15m   # Engage's webhooks tell; a list is read at first
  - name: churn-risk
    from: {{connection: amplitude, cohort_id: {churn_risk}, max_staleness: 3d}}
    to: {{connection: engage, trait: churn_risk}}
    schedule: hourly   # asks for free whether the cohort changed
    budget: 4/day      # and downloads it this often at most
  - name: feature-adopters
    from: {{connection: amplitude, cohort_id: {feature_adopters}, via: push,
      relist_every: never}}   # no download at all
    to: {{connection: ads, list: Feature adopters}}
    schedule: every 15m
"""
"""No jitter, and room for a slow machine: an hour is over in two seconds, the quarter
of an hour that a download may take by default in half a second, the day after which an
unchanged cohort is downloaded anyway in 48."""

WEBHOOK_SECRET = "demo-webhook-secret"  # noqa: S105 - opens the demo only
"""Engage signs with it."""
WEBHOOK_KEY = "demo-second-factor"
"""Comes with every webhook: a signature covers only the first event of a batch."""
PUSH_KEY = "demo-push-key"
"""Amplitude presents it to us."""
SECRETS = {
    "amplitude_api_key": "demo-api-key",
    "amplitude_secret_key": "demo-secret-key",
    "segment_write_key": "demo-write-key",
    "partner_key": "demo-partner-key",
    "webhook_secret": WEBHOOK_SECRET,
    "webhook_key": WEBHOOK_KEY,
    "amplitude_push_key": PUSH_KEY,
}
"""What the fake vendors want, and what they present; they open nothing else."""

_ORIGINS = ("amplitude", "segment", "partner")
"""As the simulator calls those that the configuration names."""


class World:
    """The folder, and who is in which audience and cohort."""

    def __init__(self, folder: Path, count: int) -> None:
        """`count` people in the first audience, a tenth of them in the second."""
        self.folder = folder.absolute()
        self.warehouse = self.folder / "warehouse.db"
        self.config = self.folder / "syncd.yaml"
        self.log = self.folder / "daemon.log"
        everybody = iter(warehouse.people((count + count // 10) * 11 // 10))
        self.audiences = audiences_among(everybody, count)
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

    def write_config(self, origins: Mapping[str, str]) -> None:
        """Write the configuration and the files with its secrets."""
        secrets = self.folder / "secrets"
        secrets.mkdir(mode=0o700)
        for name, value in SECRETS.items():
            _write_private(secrets / name, value)
        _write_private(self.config, self.config_text(origins))

    def in_warehouse(self, audience: Audience) -> set[str]:
        """Who is in the audience, as the warehouse itself says."""
        return warehouse.members(self.warehouse, audience.key)


def _write_private(path: Path, text: str) -> None:
    """A file that only its owner may read, from its first byte on."""
    with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)
