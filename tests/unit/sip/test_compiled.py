"""Which modules are compiled, and that a run meant for them really runs them."""

import ast
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from node.software import IS_COMPILED

ROOT = Path(__file__).parents[3]
INTERPRETED = {"SipParseError", "BranchOwner", "Branch", "Upstream", "Wires"}
"Errors and protocols of compiled modules, from which anything may be derived."


def compiled_modules() -> list[str]:
    """The modules that setup.py names."""
    for node in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COMPILED":
            folders: dict[str, str] = ast.literal_eval(node.value)
            return [
                f"{folder.replace('/', '.')}.{name}"
                for folder, names in folders.items()
                for name in names.split()
            ]
    raise AssertionError("setup.py names nothing")


def test_every_module_that_is_compiled_is_there() -> None:
    for module in compiled_modules():
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


def test_all_of_them_are_compiled_or_none() -> None:
    """What was left over of one build never mixes with the source."""
    for module in compiled_modules():
        spec = find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        assert spec.origin.endswith(".py") is not IS_COMPILED, module


def test_who_is_derived_from_a_compiled_class_is_compiled() -> None:
    """An interpreted class cannot be; that would show in the first call of its kind only."""
    compiled = set(compiled_modules())
    for path in ROOT.glob("node/**/*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if module in compiled:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        from_compiled = {
            name.asname or name.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module in compiled
            for name in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases = {ast.unparse(base) for base in node.bases}
                derived = bases & from_compiled - INTERPRETED
                assert not derived, f"{module}.{node.name} is derived from {derived}"


def test_a_name_stands_for_errors_of_one_kind_in_a_compiled_function() -> None:
    """A compiled name has one type: an error of another kind would become a TypeError."""
    for module in compiled_modules():
        path = ROOT / f"{module.replace('.', '/')}.py"
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            kinds: dict[str, set[str]] = {}
            for node in ast.walk(function):
                if isinstance(node, ast.ExceptHandler) and node.name and node.type:
                    kinds.setdefault(node.name, set()).add(ast.unparse(node.type))
            mixed = {name: types for name, types in kinds.items() if len(types) > 1}
            assert not mixed, f"{module}.{function.name}: {mixed}"


@pytest.mark.skipif("EXPECT_COMPILED" not in os.environ, reason="asked of `make test-fast`")
def test_this_run_is_one_of_the_compiled_modules() -> None:
    assert IS_COMPILED
