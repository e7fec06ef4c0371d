"""The rules of docs/architecture.md that a machine can check."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import anotwin
from anotwin.domains.protocol import Domain
from anotwin.domains.registry import DOMAINS

ROOT = Path(anotwin.__file__).parent
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
PUBLIC = [
    "AnoTwinError",
    "BundleError",
    "Calibration",
    "DataError",
    "Detector",
    "Finding",
    "ImageSpec",
    "MissingExtra",
    "Settings",
    "SettingsError",
    "Status",
    "TrainingDiverged",
    "Translator",
]
LONGEST = 400  # lines of a file


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def _name(module: str) -> str:
    parts = module.removesuffix(".py").removesuffix("__init__").rstrip("/").split("/")
    return ".".join(["anotwin", *(part for part in parts if part)])


def _for_types_only(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _nodes(tree: ast.AST, types_too: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and _for_types_only(child) and not types_too:
            for other in child.orelse:
                yield other
                yield from _nodes(other, types_too)
            continue
        yield child
        yield from _nodes(child, types_too)


@cache
def imported(module: str, types_too: bool = True) -> frozenset[str]:
    """All modules that a file names in imports, at its top or inside functions, and the names it takes from them."""
    package = _name(module).split(".")
    if not module.endswith("__init__.py"):
        package = package[:-1]
    found: set[str] = set()
    for node in _nodes(_tree(module), types_too):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (base, node.module or "") if part)
            found |= {source, *(f"{source}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def importers(target: str, types_too: bool = True) -> set[str]:
    return {
        module
        for module in MODULES
        if any(name == target or name.startswith(f"{target}.") for name in imported(module, types_too))
    }


def below(*packages: str) -> set[str]:
    return {module for module in MODULES if module.startswith(tuple(f"{package}/" for package in packages))}


def test_the_reader_of_imports_sees_them_all() -> None:
    """The rules below hold for an empty set as well: these must be found."""
    assert "detector.py" in importers("anotwin.methods.registry")
    assert "cli.py" in importers("anotwin.detector")  # inside functions
    assert "records.py" in importers("torch")
    assert "records.py" not in importers("torch", types_too=False)
    assert len(MODULES) > 50


LATER = ("methods", "domains", "training", "run", "report", "evaluate", "commands", "detector", "cli")


@pytest.mark.parametrize("package", ["data", "prepare", "compare", "defects", "calibrate", "search"])
def test_imports_point_one_way(package: str) -> None:
    assert below(package)
    for target in LATER:
        assert not below(package) & importers(f"anotwin.{target}"), target


def test_training_knows_no_method() -> None:
    assert not below("training") & importers("anotwin.methods")


def test_domains_stand_apart() -> None:
    """A domain knows nothing of what uses it, and nothing of another domain."""
    domains = {module.split("/")[1] for module in below("domains") if module.count("/") > 1}
    assert {"plain", "oct"} <= domains
    for target in ("methods", "run", "commands", "evaluate", "detector", "cli"):
        assert not below("domains") & importers(f"anotwin.{target}"), target
    for domain in domains:
        outside = importers(f"anotwin.domains.{domain}") - below(f"domains/{domain}")
        assert outside == {"domains/registry.py"}, domain


def test_only_the_registry_names_a_domain() -> None:
    """Outside of domains/ no code asks which domain, view or layout it is: no name of one is compared with anything."""
    names = {name for domain in DOMAINS for name in (domain.name, domain.view_name, *_layout_names(domain))}
    assert {"oct", "retina", "whole", "mvtec"} <= names
    for module in MODULES:
        if not module.startswith("domains/"):
            for node in ast.walk(_tree(module)):
                asked = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
                asked += [node.pattern] if isinstance(node, ast.match_case) else []
                found = {leaf.value for each in asked for leaf in ast.walk(each) if isinstance(leaf, ast.Constant)}
                assert not found & names, f"{module}: {ast.unparse(node)}"


def _layout_names(domain: Domain) -> set[str]:
    return {layout.name for layout in domain.layouts}


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Nor do two modules import each other: types and imports inside functions count as well."""
    names = {_name(module): module for module in MODULES}
    graph = {name: sorted(imported(module) & names.keys() - {name}) for name, module in names.items()}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"modules that import each other: {' -> '.join(reversed(error.args[1]))}")


def test_calibrate_and_tables_never_import_torch() -> None:
    assert not (below("calibrate") | {"report/table.py"}) & importers("torch")


@pytest.mark.parametrize(
    "module",
    [
        "anotwin",
        "anotwin.cli",
        "anotwin.settings",
        "anotwin.domains.registry",
        "anotwin.translation.kinds",
        "anotwin.calibrate.threshold",
        "anotwin.report.table",
    ],
)
def test_what_needs_no_torch_does_not_load_it(module: str) -> None:
    heavy = "torch, matplotlib, sklearn, skimage, lightning_fabric, eyepy, pydicom"
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & set('{heavy}'.split(', '))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_help_does_not_load_torch() -> None:
    code = (
        "import sys; from anotwin.cli import _run, app\n"
        "names = [command.name or command.callback.__name__ for command in app.registered_commands]\n"
        "words = [['--help'], *([name, '--help'] for name in names), ['--version'], ['tran']]\n"
        "print(len(names) > 5, {_run(each) for each in words[:-1]}, _run(words[-1]), \n"
        "      *sorted({'torch', 'matplotlib', 'eyepy', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True {0} 2"


def test_extras_are_imported_in_their_own_file() -> None:
    assert importers("ray") <= {"run/ray.py"}
    assert importers("fastapi") | importers("uvicorn") <= below("serve")


def test_evaluate_and_detector_are_used_from_above_only() -> None:
    named = importers("anotwin.evaluate") - below("evaluate")
    assert "commands/evaluating.py" in named
    assert named <= below("commands")
    assert importers("anotwin.detector") - below("commands", "serve") == {"__init__.py", "cli.py"}
    assert importers("anotwin.translator") - below("commands", "serve") == {"__init__.py", "cli.py"}
    assert importers("anotwin.cli") == set()
    assert importers("anotwin.commands") - below("commands") == {"cli.py"}


def test_translation_is_used_from_above_only() -> None:
    above = below("translation", "commands") | {"translator.py", "cli.py", "methods/cyclegan.py"}
    assert importers("anotwin.translation") <= above
    for target in ("domains.open", "detector", "evaluate", "commands", "calibrate", "compare.score"):
        assert not below("translation") & importers(f"anotwin.{target}"), target


def test_nothing_unpickles_or_evaluates() -> None:
    for module in MODULES:
        for node in ast.walk(_tree(module)):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "pickle.load", "pickle.loads", "os.system"), module
                if called in ("torch.load", "np.load", "numpy.load"):
                    arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                    assert arguments.get("weights_only") == "True", module


def test_the_public_names() -> None:
    assert anotwin.__all__ == sorted(anotwin.__all__) == PUBLIC
    for name in PUBLIC:
        assert isinstance(getattr(anotwin, name), type), name
        assert name in dir(anotwin)
    with pytest.raises(AttributeError, match="'anotwin' has no attribute 'Nonsense'"):
        anotwin.Nonsense  # noqa: B018


def test_the_public_names_of_type_checkers_are_those_at_run_time() -> None:
    (block,) = [node for node in _tree("__init__.py").body if isinstance(node, ast.If) and _for_types_only(node)]
    promised = {
        alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert sorted(promised) == PUBLIC
    for name, module in promised.items():
        assert getattr(anotwin, name) is getattr(import_module(str(module)), name)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is_for_and_stays_small(module: str) -> None:
    assert len((ROOT / module).read_text(encoding="utf-8").splitlines()) <= LONGEST
    assert ast.get_docstring(_tree(module))
