"""What one `ask` carries along: who asks, whom, and how long it may take."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from syncd.clients.amplitude_answers import Cohort
from syncd.clients.amplitude_downloads import AmplitudeDownloads
from syncd.clock import Clock
from syncd.errors import DeliveryError, SourceUnavailable
from syncd.sources import Question
from syncd.sources.amplitude_download.faults import unavailable
from syncd.sources.amplitude_download.settings import DownloadSettings

ON_THE_WIRE = timedelta(minutes=2)
"""Real time after which a request without an answer never gets one."""


def lost_after(clock: Clock) -> timedelta:
    """On this clock: when nobody waits for a request's answer any more."""
    return ON_THE_WIRE * clock.speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One question on its way to an answer."""

    settings: DownloadSettings
    client: AmplitudeDownloads
    clock: Clock
    question: Question

    @property
    def lost_after(self) -> timedelta:
        """See `lost_after`."""
        return lost_after(self.clock)

    def listed(self) -> Cohort:
        """The cohort as the free list names it now.

        Absence is an outage, never an empty cohort: which cohorts a list shows is not
        documented (contract 4.1).
        """
        wanted = self.settings.cohort_id
        try:
            cohorts = self.client.cohorts()
        except DeliveryError as error:
            raise unavailable(error) from error
        for cohort in cohorts:
            if cohort.id == wanted:
                return cohort
        raise SourceUnavailable(
            f"the project {self.settings.project} lists no cohort {wanted}",
            code="source.not_found",
            hint="was it deleted or hidden? correct from.cohort_id, then: syncd check",
        )

    def pause(self, until: datetime) -> None:
        """Wait until then, on this clock. Raises when the process is to stop."""
        if self.clock.wait(self.question.stop, until - self.clock.now()):
            raise SourceUnavailable(
                "stopped while waiting for the cohort's download; what was asked for"
                " is kept and resumed",
                code="source.interrupted",
            )
