"""How the embedded PostgreSQL runs without root and ends with the process that started it."""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

from dev import StartError

UNPRIVILEGED_USER = "nobody"  # PostgreSQL refuses to run as root


def prefix() -> list[str]:
    """Return words to put before a command: it then runs without root and, on Linux, ends with its parent.

    Raises StartError if this process is root and cannot give that up for a command.
    """
    setpriv = shutil.which("setpriv")
    if not setpriv or sys.platform != "linux":
        if os.getuid() == 0:
            raise StartError("PostgreSQL does not run as root: use another account, or set DB_URL.")
        return []
    end_with_parent = [setpriv, "--pdeathsig", "INT"]
    if os.getuid() != 0:
        return end_with_parent
    user = pwd.getpwnam(UNPRIVILEGED_USER)
    drop = [*end_with_parent, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    # The command keeps the capability to read every file: the checkout may lie in a folder that only root can
    # enter, such as /root, or be made with a umask of 077. initdb checks `postgres` by access(2), which
    # honours a capability only without the "setuid fixup".
    read_everywhere = [
        *drop,
        "--securebits=+no_setuid_fixup",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    ]
    is_allowed = subprocess.run([*read_everywhere, "true"], capture_output=True).returncode == 0
    return read_everywhere if is_allowed else drop


def hand_over(folder: Path) -> None:
    """Give `folder` to the user that PostgreSQL runs as."""
    if os.getuid() == 0:
        shutil.chown(folder, UNPRIVILEGED_USER)
