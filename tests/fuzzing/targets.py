"""Every target, by name."""

from tests.fuzzing import asked, configuration, doors, kept, lists, vendors, wire
from tests.fuzzing.target import Target

TARGETS: dict[str, Target] = {
    each.name: each
    for group in (wire, doors, vendors, lists, configuration, asked, kept)
    for each in group.TARGETS
}
