"""What Amplitude pushes to us: lists, properties, cohort webhooks (vendor page 1).

Amplitude believes in us as in any of its partners. It makes a list and adds and removes
people (`lists`), or it sets a property of each person (`properties`), or it posts a
cohort's entries and exits in the words of a template that customers edit (`webhook`).
All three end as the same thing: who is in a cohort now, and who is not (`words`).

The cohort's id is the last token of a name that people chose (`names`). Nothing is
signed, so whoever has the key is believed (`access`); lists and properties carry
neither an id nor a time, so the order of arrival counts. `door` puts it together and
knows the paths; it keeps nothing but the ids of lists, which `Directory` keeps for it.
"""

from syncd.sources.amplitude_push.door import AmplitudeDoor
from syncd.sources.amplitude_push.settings import AmplitudeDoorSettings, Directory

__all__ = ["AmplitudeDoor", "AmplitudeDoorSettings", "Directory"]
