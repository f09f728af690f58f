"""`syncd simulate`: the fake vendors alone, to point connections at."""

from datetime import UTC, datetime
from pathlib import Path

import click

from syncd.cli.exit_codes import ExitCode
from syncd.cli.frame import Frame, verb
from syncd.errors import SyncdError
from syncd.simulator.server import Options, serve

_DEFAULT = Options()


class Instant(click.ParamType[datetime]):
    """An ISO 8601 instant; UTC where no zone is written."""

    name = "instant"

    def convert(
        self,
        value: str | datetime,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"'{value}' is not like 2026-05-12T09:00:00Z.", param, ctx)
        return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


_PORT = click.IntRange(0, 65535)


@verb("simulate")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=_DEFAULT.speed,
    show_default=True,
    help="Virtual seconds per real second.",
)
@click.option(
    "--origin",
    type=Instant(),
    metavar="TIME",
    help="When virtual and real time agree, ISO 8601; default: now.",
)
@click.option(
    "--region",
    type=click.Choice(["us", "eu"]),
    default=_DEFAULT.region,
    show_default=True,
    help="Which of the vendor's regions it stands for.",
)
@click.option("--amplitude-port", type=_PORT, default=0, help="Default: any free port.")
@click.option("--storage-port", type=_PORT, default=0, help="Default: any free port.")
@click.option("--segment-port", type=_PORT, default=0, help="Default: any free port.")
@click.option("--partner-port", type=_PORT, default=0, help="Default: any free port.")
@click.option("--public-port", type=_PORT, default=0, help="Default: any free port.")
@click.option("--control-port", type=_PORT, default=0, help="Default: any free port.")
@click.option(
    "--seed",
    type=int,
    default=_DEFAULT.seed,
    show_default=True,
    help="Of cohort ids, and of faults with a probability.",
)
@click.option(
    "--latency",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=_DEFAULT.latency,
    show_default=True,
    help="Real seconds a writing request takes.",
)
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the line that names the origins here.",
)
@click.option(
    "--stop-on-eof", is_flag=True, help="End with stdin: a dead parent leaves nothing."
)
def simulate(frame: Frame, **options: object) -> ExitCode:
    """Serve a local Amplitude, Segment and partner until SIGTERM or Ctrl-C.

    One JSON line on stdout names the origins (loopback ports), the project and its key
    as soon as requests are taken; `public` is Segment's Public API. The control origin
    (`/_sim/`) makes users, reads cohorts, traits and lists, lets Engage and Amplitude
    push to a URL, scripts faults and shows the request log.
    """
    frame.out.detail(
        "Point each connection's base_url at the origin of its kind, and api_base_url"
        " at public."
    )
    try:
        return ExitCode(serve(Options(**options)))  # type: ignore[arg-type]
    except OSError as error:
        raise SyncdError(
            f"the simulator cannot start: {error.strerror}",
            code="simulate.unavailable",
            hint="syncd simulate --amplitude-port 0 --control-port 0",
        ) from None
