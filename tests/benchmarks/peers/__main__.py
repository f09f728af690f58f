"""`python -m tests.benchmarks.peers --make DIR` makes an environment for them.

They are not installed beside syncd: each brings along much that syncd does not need.
`--peers DIR` then names it to pytest.
"""

import argparse
import subprocess
import venv
from pathlib import Path

PINNED = Path(__file__).with_name("requirements.txt")


def main() -> None:
    """Make it, or bring one that is there to the pinned versions."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers")
    parser.add_argument("--make", metavar="DIR", type=Path, required=True)
    folder: Path = parser.parse_args().make
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip"]
    subprocess.run([*pip, "install", "--requirement", str(PINNED)], check=True)
    subprocess.run([*pip, "check"], check=True)


if __name__ == "__main__":
    main()
