"""What a failed call means for a run: the vendor's errors as source errors."""

from syncd.errors import DeliveryError, Fault, SourceUnavailable, SourceUntrusted


def is_rate_limit(error: DeliveryError) -> bool:
    """A 429, with or without a wait that it names."""
    return error.error_type == "rate_limited"


def is_gone(error: DeliveryError) -> bool:
    """A 404: the request, or the cohort, is not known there any more."""
    return error.error_type == "not_found"


def is_over(error: DeliveryError) -> bool:
    """Whether nothing can be had by a request any more: expired, or its job failed."""
    failed = error.fault is Fault.REFUSED and error.error_type == "bad_response"
    return is_gone(error) or failed


def is_answered(error: DeliveryError) -> bool:
    """Whether the vendor plainly refused, so that nothing came of the call."""
    return error.fault is Fault.CREDENTIALS or (
        error.status is not None and 400 <= error.status <= 499
    )


def is_broken(error: DeliveryError) -> bool:
    """Whether something came that is not the file: cut, empty, HTML, no id column."""
    return error.error_type in {"bad_response", "too_large"}


def leads_astray(error: DeliveryError) -> bool:
    """Whether the file's link leads where no file of ours is fetched from: nothing was
    read, and another download would lie in the same place."""
    return error.fault is Fault.REFUSED and error.error_type == "bad_response"


def unavailable(
    error: DeliveryError, code: str = ""
) -> DeliveryError | SourceUnavailable:
    """Refused credentials stay what they are; anything else: the next run may work."""
    if error.fault is Fault.CREDENTIALS:
        return error
    return SourceUnavailable(str(error), code=code, hint=error.hint)


def broken(error: DeliveryError) -> SourceUntrusted:
    """A file that must not be believed."""
    return SourceUntrusted(
        f"the cohort's file is not to be believed: {error}",
        code="source.broken_file",
        hint=error.hint or "the next run reads the file again, which is free",
    )
