"""Members from an Amplitude cohort: list (free), gate, request (paid), poll, file.

A download is the scarcest thing in this product: 500 a month for the whole project,
whoever spends them (contract/amplitude.md sections 3 and 5). So whatever is free comes
first: the list says whether the cohort was computed anew, a file that still stands for
the present serves any sync again, and a request whose id is stored is never made twice,
whatever died in between.

`source` tells the story, `gate` decides whether a download is needed, `refusal` which
cohorts are not read at all, `admission` whether one may be had (the decision itself is
`clients/quota`), `job` makes the request and waits for it, `listing` reads the file
once, `members` is the file's format, `row_count` whether it is all of it.
"""

from syncd.sources.amplitude_download.gate import State, gate_state
from syncd.sources.amplitude_download.settings import DownloadSettings
from syncd.sources.amplitude_download.source import AmplitudeDownloadSource

__all__ = ["AmplitudeDownloadSource", "DownloadSettings", "State", "gate_state"]
