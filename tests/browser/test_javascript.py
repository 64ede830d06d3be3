"""The tests that are written in JavaScript, one test here for each of their files, and the vendored file's identity."""

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
WEB = HERE.parents[1] / "director" / "web"
FILES = sorted((HERE / "js").glob("*.test.mjs"))

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_javascript_keeps_its_promises(node: str, file: Path) -> None:
    """Each `test(...)` of the file; its output says which one failed."""
    run = subprocess.run([node, "--test", str(file)], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    assert "# tests 0" not in run.stdout


def test_the_vendored_client_is_the_published_one(stock_client: str) -> None:
    published = HERE / "node_modules" / "socket.io-client"
    assert (WEB / "vendor" / "socket.io.esm.min.js").read_bytes() == (
        published / "dist" / "socket.io.esm.min.js"
    ).read_bytes()
    assert (WEB / "vendor" / "LICENSE-socket.io-client").read_bytes() == (published / "LICENSE").read_bytes()
