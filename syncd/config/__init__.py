"""Files and environment in, one immutable `Settings` out, or every problem at once.

The way of a configuration, one file each:

    reader        YAML text -> a tree of nodes that know file, line and column
    merge         files and their includes -> one tree
    environment   `SYNCD_…` variables laid over the tree, `${SYNCD_…}` filled in
    schema        the keys that exist and their types (pydantic)
    findings      what pydantic said -> `Problem`s in our words
    resolve       defaults into syncs, names looked up, rules across sections
    settings      the result
    report        problems -> text for people, CI and programs

No other part of the product reads a config file or the environment.
"""

from syncd.config.loader import InvalidConfig, load
from syncd.config.place import Place
from syncd.config.secrets import SecretRef, SecretUnavailable
from syncd.config.settings import (
    Budget,
    DeliverySettings,
    Destination,
    Events,
    FromAudience,
    FromCohort,
    GuardSettings,
    Listen,
    Loaded,
    LogSettings,
    Settings,
    Source,
    StoreSettings,
    SyncSettings,
    ToCohort,
    ToList,
    ToTrait,
    WebSettings,
)
from syncd.config.settings_connections import (
    AmplitudeConnection,
    Connection,
    EngageConnection,
    FilesSnapshot,
    InboxSettings,
    ListApiConnection,
    PartnerAccess,
    PresentedSecret,
    PropertyApiConnection,
    PushSettings,
    QuotaSettings,
    SecondFactor,
    Transport,
    WarehouseSnapshot,
)

__all__ = [
    "AmplitudeConnection",
    "Budget",
    "Connection",
    "DeliverySettings",
    "Destination",
    "EngageConnection",
    "Events",
    "FilesSnapshot",
    "FromAudience",
    "FromCohort",
    "GuardSettings",
    "InboxSettings",
    "InvalidConfig",
    "ListApiConnection",
    "Listen",
    "Loaded",
    "LogSettings",
    "PartnerAccess",
    "Place",
    "PresentedSecret",
    "PropertyApiConnection",
    "PushSettings",
    "QuotaSettings",
    "SecondFactor",
    "SecretRef",
    "SecretUnavailable",
    "Settings",
    "Source",
    "StoreSettings",
    "SyncSettings",
    "ToCohort",
    "ToList",
    "ToTrait",
    "Transport",
    "WarehouseSnapshot",
    "WebSettings",
    "load",
]
