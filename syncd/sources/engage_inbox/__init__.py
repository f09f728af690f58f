"""What Engage pushes to us: who entered and who left an audience, by webhook.

`door` takes a request apart, `signature` is Segment's proof and how far it reaches,
`proof` adds the second factor, `event` says what one event means, and `hooks` are the
two calls by which Engage announces an audience. Facts are from contract/segment.md
sections 3 to 5.
"""

from syncd.sources.engage_inbox.door import EngageDoor
from syncd.sources.engage_inbox.proof import SecondFactor
from syncd.sources.engage_inbox.settings import Directory, EngageDoorSettings

__all__ = ["Directory", "EngageDoor", "EngageDoorSettings", "SecondFactor"]
