"""How often the Public API may be asked: so many times in a minute of the clock."""

from dataclasses import dataclass

MINUTE = 60.0


@dataclass(slots=True)
class Window:
    """A minute that begins with the first request after the one before."""

    ends: float = 0.0
    """Epoch seconds."""
    used: int = 0

    def take(self, now: float) -> int:
        """Count one request; returns how many this window has had, refused ones too."""
        if now >= self.ends:
            self.ends, self.used = now + MINUTE, 0
        self.used += 1
        return self.used
