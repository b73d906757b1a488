"""Make ``first_schema.sql``: the data of a database that the first released schema (0001-0004) was filled with.

``python -m tests.upgrade.make_dump`` checks out the revision below in a temporary worktree and runs
``record_runs.py`` there, with that revision's own service, gateway and simulator. It needs the history of the
repository; the test that uses the file does not. Make the file again only if a kind of row is missing from it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

REVISION = "12f4872"
HERE = Path(__file__).resolve().parent
DUMP = HERE / "first_schema.sql"


def main() -> None:
    """Write the file, or exit with the reason why it could not be made."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        git = ["git", "-C", str(HERE)]
        subprocess.run([*git, "worktree", "add", "--detach", str(tree), REVISION], check=True)
        try:
            # The checkout shadows the installed package, in the child processes of the stack too.
            env = os.environ | {"PYTHONPATH": str(tree)}
            command = [sys.executable, str(HERE / "record_runs.py"), str(DUMP)]
            done = subprocess.run(command, cwd=tree, env=env, timeout=600, check=False)
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(tree)], check=True)
    if done.returncode != 0:
        sys.exit(
            f"record_runs.py failed with exit code {done.returncode}; {DUMP.name} is unchanged."
        )
    print(f"{DUMP} has {DUMP.stat().st_size} bytes.")


if __name__ == "__main__":
    main()
