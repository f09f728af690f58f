"""An Amplitude cohort as a sink: found or created, then changed by ADD and REMOVE.

Rules (contract/amplitude.md 4.6, 4.7, 9; architecture.md section 8):

- creation needs ids and needs one that Amplitude knows, so the first real ADD batch
  creates; its answer acknowledges nobody, and the batch goes again as membership;
- creation is not idempotent, so where one may have happened we look before we create;
- only a `manual_upload` cohort of people that is not archived is written to, and a
  deleted one is never silently made anew.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from syncd.clients.amplitude import (
    AmplitudeClient,
    MembershipIdType,
    NewCohort,
    UploadIdType,
)
from syncd.clients.amplitude_answers import Cohort
from syncd.clients.cohort_list import CohortList
from syncd.errors import DeliveryError, Fault, TargetUnusable
from syncd.model import Batch, Found, IdType, Operation, Receipt, Target
from syncd.sinks import Capabilities

MAX_BATCH = 100_000
"""Identifiers per request (contract section 3), read as the total."""

CLOCK_SLACK = timedelta(seconds=60)
"""A cohort counts as created after our intent if it is not older than this before it:
`createdAt` is in whole seconds of Amplitude's clock, which may run behind ours. Wide,
because no usable cohort of that name and owner was listed when the intent was made."""

_UPLOAD_ID_TYPE = {
    IdType.USER_ID: UploadIdType.BY_USER_ID,
    IdType.AMPLITUDE_ID: UploadIdType.BY_AMP_ID,
}
_MEMBERSHIP_ID_TYPE = {
    IdType.USER_ID: MembershipIdType.BY_NAME,
    IdType.AMPLITUDE_ID: MembershipIdType.BY_ID,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AmplitudeCohortSink:
    """Writes cohorts of one Amplitude project through one connection."""

    client: AmplitudeClient
    app_id: int
    """The project, as Amplitude numbers it."""
    published: bool = True
    """Whether a cohort that we create is visible to the project."""
    listed: CohortList | None = None
    """Lists that runs of a moment share; without it each run asks for its own."""

    @property
    def capabilities(self) -> Capabilities:
        """One request at a time: a second one on the same cohort is a 429."""
        return Capabilities(
            max_in_flight=1,
            max_batch=MAX_BATCH,
            replaces=MAX_BATCH,
        )

    def find(self, target: Target) -> Found | None:
        """See `Sink.find`: one free list call, or one that runs of a moment share."""
        if target.external_id is None:
            return _found(_only(_ours(self._list(target), target), target))
        if self.listed is not None:
            # Believed only where it says that all is well; else it may be outdated.
            with suppress(TargetUnusable):
                cohorts = self.listed.recent()
                self._require_our_project(cohorts, target)
                found = self._bound(cohorts, target)
                if found is not None:
                    return found
        return self._bound(self._list(target), target)

    def _bound(self, cohorts: tuple[Cohort, ...], target: Target) -> Found | None:
        """The cohort that the sync is bound to, if it is listed and may be changed."""
        bound = [each for each in cohorts if each.id == target.external_id]
        return _found(_only(bound, target))

    def deliver(self, batch: Batch, target: Target) -> Receipt:
        """See `Sink.deliver`. A receipt with `created` acknowledges nobody."""
        if target.external_id is not None:
            if batch.operation is Operation.REPLACE:
                return self._replace(batch, target, target.external_id)
            return self._change(batch, target, target.external_id)
        created = self._look_for_creation(target)
        if created is not None:
            return Receipt(created=created)
        match batch.operation:
            case Operation.ADD:
                return self._create(batch, target)
            case Operation.REMOVE:
                # No cohort of ours exists, so nobody is a member: proof without a
                # request. The look just now covers a creation whose answer was lost.
                return Receipt(accepted=batch.ids)
            case Operation.REPLACE:
                raise TypeError("only a cohort that is there can be replaced")

    def probe(self) -> None:
        """See `Sink.probe`: the list call spends no quota (contract section 1)."""
        self.client.list_cohorts()

    def _list(self, target: Target) -> tuple[Cohort, ...]:
        """The cohorts of the project as they are now."""
        cohorts = self.client.list_cohorts()
        self._require_our_project(cohorts, target)
        return cohorts

    def _require_our_project(self, cohorts: tuple[Cohort, ...], target: Target) -> None:
        """Refuse the cohorts of a project that we do not mean.

        A key belongs to one project, so a list that names only others shows that key
        and `app_id` do not fit (reliability.md D21).
        """
        projects = {each.app_id for each in cohorts} - {""}
        if projects and str(self.app_id) not in projects:
            raise _unusable(
                target,
                "target.wrong_app",
                f"the key belongs to another project than app_id {self.app_id}",
                "correct app_id or the key of the connection, then: syncd check",
            )

    def _look_for_creation(self, target: Target) -> Found | None:
        """The cohort that an earlier request made although its answer was lost.

        Nothing is asked when no creation was ever decided.
        """
        intent = target.creation_intent_at
        if intent is None:
            return None
        after = [
            each
            for each in _ours(self._list(target), target)
            if each.created_at is None or each.created_at >= intent - CLOCK_SLACK
        ]
        return _found(_only(after, target))

    def _create(self, batch: Batch, target: Target) -> Receipt:
        """Upload the batch as a new cohort.

        A 400 about ids means that none was valid (invalid ones are skipped), so all
        are unmatched and the next batch tries.
        """
        new = NewCohort(
            name=target.name,
            app_id=self.app_id,
            owner=target.owner,
            id_type=_UPLOAD_ID_TYPE[target.id_type],
            ids=batch.ids,
            published=self.published,
        )
        try:
            made = self.client.upload(new, run_id=batch.run_id)
        except DeliveryError as error:
            if error.fault is not Fault.BAD_IDS:
                raise
            return Receipt(
                unmatched=batch.ids,
                created_empty_handed=True,
                status=error.status or 400,
            )
        return Receipt(
            created=Found(external_id=made.cohort_id, name=new.name, size=made.size),
            status=made.status,
            request_id=made.request_id,
        )

    def _replace(self, batch: Batch, target: Target, cohort_id: str) -> Receipt:
        """Upload the batch in the place of all members; name and owner stay.

        The answer lists only a sample of the ids it did not know (contract 4.6).
        """
        bound = [each for each in self._list(target) if each.id == cohort_id]
        listed = _only(bound, target)
        owners = listed.owners if listed is not None else ()
        made = self.client.replace(
            cohort_id,
            NewCohort(
                name=(listed.name if listed is not None else "") or target.name,
                app_id=self.app_id,
                owner=target.owner or next((one for one in owners if "@" in one), ""),
                id_type=_UPLOAD_ID_TYPE[target.id_type],
                ids=batch.ids,
                published=listed.published if listed is not None else self.published,
            ),
            run_id=batch.run_id,
        )
        return Receipt(replaced=True, status=made.status, request_id=made.request_id)

    def _change(self, batch: Batch, target: Target, cohort_id: str) -> Receipt:
        """ADD or REMOVE; a skipped id is unknown there, hence out, and unmatched."""
        answer = self.client.membership(
            cohort_id,
            batch.operation,
            batch.ids,
            _MEMBERSHIP_ID_TYPE[target.id_type],
            run_id=batch.run_id,
        )
        accepted, unmatched = _divided(batch.ids, answer.skipped_ids)
        return Receipt(
            accepted=accepted,
            unmatched=unmatched,
            status=answer.status,
            request_id=answer.request_id,
        )


def _divided(
    ids: tuple[bytes, ...], skipped: frozenset[bytes]
) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Those that were not skipped, and those that were; usually none."""
    if not skipped:
        return ids, ()
    kept = tuple(each for each in ids if each not in skipped)
    return kept, tuple(each for each in ids if each in skipped)


def _ours(cohorts: Sequence[Cohort], target: Target) -> list[Cohort]:
    """Uploaded cohorts of this exact name and owner; archived ones only if no other.

    Owners are compared without case, since a login e-mail may come back folded.
    """
    owner = target.owner.casefold()
    named = [
        each
        for each in cohorts
        if each.name == target.name
        and each.type == "manual_upload"
        and owner in (name.casefold() for name in each.owners)
    ]
    return [each for each in named if not each.archived] or named


def _only(cohorts: Sequence[Cohort], target: Target) -> Cohort | None:
    """The one cohort, if it may be written to; None if there is none."""
    if not cohorts:
        return None
    if len(cohorts) > 1:
        raise _unusable(
            target,
            "target.ambiguous",
            f"{len(cohorts)} cohorts have the name {target.name!r} and the same owner",
            "bind one by its cohort_id, then: syncd check",
        )
    _require_writable(cohorts[0], target)
    return cohorts[0]


def _require_writable(cohort: Cohort, target: Target) -> None:
    """Raise `TargetUnusable` unless it is a live, uploaded cohort of people."""
    if cohort.archived:
        raise _unusable(
            target,
            "target.archived",
            f"cohort {cohort.id} ({cohort.name!r}) is archived",
            f"restore it in Amplitude, then: syncd run {target.sync}",
        )
    if cohort.count_group != "User":
        raise _unusable(
            target,
            "target.group",
            f"cohort {cohort.id} ({cohort.name!r}) counts {cohort.count_group!r},"
            " not users",
            "bind a cohort of users, then: syncd check",
        )
    if cohort.type != "manual_upload":
        raise _unusable(
            target,
            "target.not_manual",
            f"Amplitude computes cohort {cohort.id} ({cohort.name!r}) by itself"
            f" (type {cohort.type!r})",
            "bind an uploaded cohort, or name a new one, then: syncd check",
        )


def _unusable(target: Target, code: str, why: str, hint: str) -> TargetUnusable:
    return TargetUnusable(f"{target.sync}: {why}", code=code, hint=hint)


def _found(cohort: Cohort | None) -> Found | None:
    if cohort is None:
        return None
    return Found(external_id=cohort.id, name=cohort.name, size=cohort.size)
