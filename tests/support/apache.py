"""A real Apache that serves a folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloudfiles_hypha.devserver.processes import HOST, choose_ports
from tests.support.s3_servers import serving, status_of

_MODULES = (Path("/usr/lib/apache2/modules"), Path("/usr/libexec/apache2"), Path("/etc/httpd/modules"))
_CONFIGURATION = """
ServerRoot {state}
ServerName localhost
PidFile {state}/pid
ErrorLog {state}/error.log
Listen {host}:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule autoindex_module {modules}/mod_autoindex.so
{user}
DocumentRoot {root}
<Directory {root}>
Options +Indexes
Require all granted
{options}
</Directory>
"""


@contextmanager
def apache(state: Path, options: str = "") -> Iterator[tuple[str, Path]]:
    """Its URL, and the folder that it serves. Skips the test where there is none."""
    program = shutil.which("apache2") or shutil.which("httpd") or shutil.which("apache2", path="/usr/sbin")
    modules = next((folder for folder in _MODULES if (folder / "mod_autoindex.so").exists()), None)
    if program is None or modules is None:
        pytest.skip("Apache is not installed")
    (port,) = choose_ports(1)
    user = "User nobody\nGroup nogroup" if os.geteuid() == 0 else ""  # it serves nothing as root
    with tempfile.TemporaryDirectory(prefix="apache-") as folder:  # pytest's own are for one user only
        root = Path(folder)
        root.chmod(0o755)
        configuration = state / "apache.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                state=state, root=root, host=HOST, port=port, modules=modules, user=user, options=options
            )
        )
        url = f"http://{HOST}:{port}"
        # one process: the many that it starts else would be in a group of their own, and stay when it is killed
        command = [program, "-X", "-f", str(configuration)]
        with serving(command, state, lambda: status_of(f"{url}/") == 200):
            yield url, root
