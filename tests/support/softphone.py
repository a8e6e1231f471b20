"""The page with JsSIP: its packages by npm, bundled by esbuild, once on each machine."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "javascript"
MODULES = HERE / "node_modules"
_INSTALL = 120.0
_BUNDLE = 30.0


def softphone() -> str:
    """The script of the page; the test is skipped, with a reason, where it cannot be had."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("no npm: JsSIP cannot be installed")
    if not (MODULES / ".package-lock.json").exists():
        done = _run(_INSTALL, "npm", "install", "--no-audit", "--no-fund", "--no-package-lock")
        if done.returncode != 0:
            pytest.skip(f"npm cannot install JsSIP: {done.stderr.strip().splitlines()[-1:]}")
    done = _run(
        _BUNDLE, str(MODULES / ".bin" / "esbuild"), "softphone.js", "--bundle",
        "--format=iife", "--charset=ascii", "--log-level=error",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.replace("</script", "<\\/script")


def _run(within: float, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, cwd=HERE, capture_output=True, text=True, timeout=within, check=False
    )
