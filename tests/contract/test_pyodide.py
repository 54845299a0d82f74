"""The pure Python part in WebAssembly: Pyodide, run by Node, with no threads, no sockets and no libcurl.

Node has to be one whose WebAssembly can wait (JSPI), since urllib3 has its ``fetch`` carry requests out then.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

import cloudfiles_hypha
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import ObjectServer

# Where .ci/run installs both; tests change HOME.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cloudfiles_hypha" / "pyodide"
# What the package needs of others on this path; all of it is pure Python.
NEEDED = ("urllib3", "requests", "tqdm", "tenacity", "certifi", "idna")

PROGRAM = """
import { loadPyodide } from "PYODIDE";
const python = await loadPyodide();
python.mountNodeFS("/modules", process.argv[2]);
python.globals.set("arguments", process.argv.slice(3));
try {
  await python.runPythonAsync(`import sys; sys.path.insert(0, "/modules")\\nCODE`);
} catch (error) {
  console.error(String(error));
  process.exit(1);
}
process.exit(0);
"""

CODE = """
import cloudfiles_hypha
from cloudfiles_hypha import ArtifactFiles, AsyncArtifactFiles, ObjectNotFound

web, server, token = arguments.to_py()
cf = ArtifactFiles("mem://here")
cf.puts([("a", b"A"), ("dir/b", b"B")])
assert [r["content"] for r in cf.get(["a", "dir/b"])] == [b"A", b"B"]
assert list(cf) == ["a", "dir/b"]

cf = ArtifactFiles(web)
assert cf.get("big") == bytes(range(256)) * 4096
part = {"path": "big", "start": 10, "end": 20}
assert [r["content"] for r in cf.get([part, "small"])] == [bytes(range(10, 20)), b"s"]
assert cf.size("small") == 1
try:
    cf.get("none")
except ObjectNotFound:
    print("not there")

cf = ArtifactFiles("ws/a", server_url=server, token=token)
assert sorted(cf) == ["x", "y/z"]
assert cf.get(["x", "y/z"], return_dict=True) == {"x": b"X", "y/z": b"Z"}
cf.puts([("new", b"N" * 100000), ("new2", b"")])
assert cf.get("new") == b"N" * 100000
cf.delete("new2")

async def main():
    cf = AsyncArtifactFiles("ws/a", server_url=server, token=token)
    assert await cf.get("x") == b"X"
    assert sorted([name async for name in cf]) == ["new", "x", "y/z"]
    assert (await cf.put("later", b"L"))["error"] is None

await main()
"""


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A folder with the package and what it needs, without anything that is compiled."""
    for name in NEEDED:
        found = importlib.util.find_spec(name)
        assert found is not None
        assert found.origin is not None
        copytree(Path(found.origin).parent, tmp_path / name, ignore=ignore_patterns("__pycache__", "*.so"))
    copytree(Path(cloudfiles_hypha.__file__).parent, tmp_path / "cloudfiles_hypha")
    return tmp_path


def node() -> str:
    """A Node whose WebAssembly can wait."""
    for found in (CACHE / "node_modules" / ".bin" / "node", shutil.which("node")):
        if found is not None and Path(found).exists():
            asked = [str(found), "-e", "process.exit(typeof WebAssembly.Suspending === 'function' ? 0 : 1)"]
            if subprocess.run(asked, check=False, timeout=30).returncode == 0:
                return str(found)
    pytest.skip("needs Node 25 or later")


@pytest.mark.timeout(120)
def test_files_are_read_written_and_listed_in_webassembly(
    modules: Path, object_server: ObjectServer, tmp_path: Path
) -> None:
    pyodide = CACHE / "node_modules" / "pyodide" / "pyodide.mjs"
    if not pyodide.exists():
        pytest.skip("needs pyodide from npm; .ci/run installs it")
    object_server.put("big", bytes(range(256)) * 4096)
    object_server.put("small", b"s")
    program = tmp_path / "program.mjs"
    escaped = CODE.replace("\\", "\\\\").replace("`", "\\`")
    program.write_text(PROGRAM.replace("PYODIDE", str(pyodide)).replace("CODE", escaped))
    with FakeHypha() as hypha:
        hypha.add_artifact("ws/a", {"x": b"X", "y/z": b"Z"})
        ended = subprocess.run(
            [node(), str(program), str(modules), object_server.url, hypha.url, hypha.token],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert (ended.returncode, ended.stdout) == (0, "not there\n"), ended.stderr
        assert hypha.files("ws/a")["later"] == b"L"
