"""The long form: guided by coverage, for as long as one likes.

`python -m tests.fuzzing --seconds 100` runs every target for that long, one after the
other; `python -m tests.fuzzing yaml check --seconds 600` runs two. Needs atheris. What
fails is kept in a folder and printed in base64; `--judge BASE64` runs it once more.

Each target has a process of its own, in which only the product is instrumented. That
makes it several times slower, so what seems slow there is judged here, without.
"""

import argparse
import base64
import re
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from tests.fuzzing.coverage import LARGEST_RUN, dictionary
from tests.fuzzing.target import Target, judge, quiet
from tests.fuzzing.targets import TARGETS


def main() -> int:
    """0 if nothing failed."""
    asked = _asked()
    with quiet():
        if asked.judge:
            judge(TARGETS[asked.targets[0]], base64.b64decode(asked.judge))
            return 0
        failed = 0
        for name in asked.targets or TARGETS:
            failed += _fuzzed(TARGETS[name], asked.seconds, Path(asked.folder) / name)
    print(f"failed: {failed}; inputs are kept in {asked.folder}")
    return int(failed > 0)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing")
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=100, help="for each target")
    parser.add_argument("--folder", help="where inputs are kept", default="")
    parser.add_argument("--judge", metavar="BASE64", help="one input, once more")
    asked = parser.parse_args()
    asked.folder = asked.folder or tempfile.mkdtemp(prefix="syncd-fuzz-")
    return asked


def _fuzzed(target: Target, seconds: int, folder: Path) -> int:
    """Fuzz one target; how many of the inputs that it kept fail here, too."""
    corpus, kept = folder / "corpus", folder / "kept"
    for each in (corpus, kept):
        each.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate((*target.seeds, *target.found)):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = folder / "words"
    words.write_text(dictionary(target))
    options = [f"-dict={words}", f"-artifact_prefix={kept}/", f"-max_len={LARGEST_RUN}"]
    options += [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=1024"]
    options += ["-print_final_stats=1", str(corpus)]
    child = [sys.executable, "-m", "tests.fuzzing.coverage", target.name, str(kept)]
    ran = subprocess.run(
        child + options,
        capture_output=True,
        text=True,
        errors="replace",
    )
    runs = re.findall(r"number_of_executed_units: (\d+)", ran.stderr)
    covered = re.findall(r"cov: (\d+)", ran.stderr)
    inputs = sorted(kept.iterdir())
    failed = [each for each in inputs if not _passes(target, each.read_bytes())]
    figures = f"{runs[-1] if runs else 0} runs, {covered[-1] if covered else 0} edges"
    print(f"{target.name}: {figures}, {len(failed)} of {len(inputs)} fail", flush=True)
    if not runs:
        print(ran.stderr[-2_000:])
    return len(failed) + (not runs)


def _passes(target: Target, data: bytes) -> bool:
    """Whether an input that was kept holds without instruments; else it is shown."""
    try:
        judge(target, data)
    except Exception:  # noqa: BLE001  # whatever it is, it is what we look for
        print(f"{target.name}: {base64.b64encode(data).decode()}")
        print(traceback.format_exc(limit=-4))
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
