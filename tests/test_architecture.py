"""The rows of the house: who may import whom, and what an import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import allenfs

PACKAGE = Path(allenfs.__file__).parent
MAX_LINES = 350

# design: a package imports only from packages to its left; those of one row never
# import each other.
ROWS = (
    {"errors"},
    {"text"},
    {"config"},
    {"model"},
    {"service", "store"},
    {"fetch", "catalog"},
    {"filesystem"},
    {"assembly"},
    {"adapters"},
    {"mount"},
    {"cli"},
    {"__main__"},
)
ROW_OF = {package: number for number, row in enumerate(ROWS) for package in row}
# The sample service sees what is left of `service`, and only `assembly` and what is
# right of it see the sample service.
SAMPLE_SEES = {"errors", "text", "config", "model", "__init__"}
SAMPLE_USERS = {"assembly"}

IMPORTERS = {
    "fuse": {"adapters.fuse_operations"},
    "mfusepy": {"adapters.fuse_operations"},
    "fsspec": {"adapters.traversal"},
    "requests": {"service.transport", "service.responses", "service.certificates"},
    "urllib3": {"service.transport", "service.responses", "service.certificates"},
    "shtab": {"cli.integrate.files"},
    "tqdm": {"cli.prefetch.report"},
    "cachetools": {
        "store.image_files",
        "store.index",
        "service.health",
        "catalog.record_cache",
        "catalog.repository",
        "filesystem.kernel_view",
        "sample.handler",
    },
    "socks": {"service.transport"},
    "PIL": {"fetch.sheet_page", "fetch.stack_page", "fetch.tiles"},
    "numpy": set(),
}
# declared in the extra `sample`, and used there alone but for contact sheets and chunks
SAMPLE_LIBRARIES = {"PIL", "numpy"}

SOURCES = sorted(PACKAGE.rglob("*.py"))
ALL_MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in SOURCES
)
MODULES = [name for name in ALL_MODULES if not name.startswith("sample.")]
SAMPLE_MODULES = sorted({*ALL_MODULES} - {*MODULES})


def source_of(module: str) -> Path:
    return PACKAGE.joinpath(*module.split(".")).with_suffix(".py")


@cache
def imports_of(path: Path) -> list[str]:
    """Dotted names of everything imported anywhere in a file."""
    return [*walk_imports(path)]


def walk_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Call) and is_import_call(node):
            (name,) = node.args
            assert isinstance(name, ast.Constant), f"{path.name}: a hidden import"
            yield name.value


def is_import_call(call: ast.Call) -> bool:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else function
    name = name.id if isinstance(name, ast.Name) else name
    return name in ("import_module", "__import__")


def own_imports_of(module: str) -> set[str]:
    """The modules of this package that one imports, `__init__` for the root."""
    found = set()
    for name in imports_of(source_of(module)):
        root, _, rest = name.partition(".")
        if root != "allenfs":
            continue
        while (
            rest and rest not in ALL_MODULES and f"{rest}.__init__" not in ALL_MODULES
        ):
            rest = rest.rpartition(".")[0]
        is_package = f"{rest}.__init__" in ALL_MODULES
        found.add(f"{rest}.__init__" if is_package else rest or "__init__")
    return found


def packages_of(module: str) -> set[str]:
    """The packages and top-level modules that one imports."""
    return {name.partition(".")[0] for name in own_imports_of(module)} - {"__init__"}


def foreign_imports_of(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports_of(path)}


def foreign_below(module: str) -> set[str]:
    """What a module imports of others, itself or by what it imports."""
    seen, waiting, found = set(), [module], set()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            found |= foreign_imports_of(source_of(name))
            waiting += {
                one for one in own_imports_of(name) if not one.startswith("sample")
            }
    return found


def python(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_house_shows_itself():
    found = {name.partition(".")[0] for name in MODULES}
    assert found == {*ROW_OF, "__init__"}
    assert len(list(PACKAGE.glob("[!_]*"))) + 2 <= 16  # `__init__` and `__main__`


def test_a_package_imports_only_from_packages_to_its_left():
    for module in {*MODULES} - {"__init__"}:
        own = module.partition(".")[0]
        others = packages_of(module) - {own, "sample"}
        assert {one for one in others if ROW_OF[one] >= ROW_OF[own]} == set(), module


def test_the_walk_sees_the_imports_that_there_are():
    assert own_imports_of("model.tree") >= {"errors", "model.images"}
    assert own_imports_of("mount.daemon") >= {"assembly"}
    assert own_imports_of("cli.main") >= {"cli.mount", "cli.url"}
    assert "sample" in packages_of("assembly")
    for library, importers in IMPORTERS.items():
        for module in importers:
            assert library in foreign_imports_of(source_of(module))
    assert foreign_below("cli.main") >= {*IMPORTERS} - {"PIL", "numpy", "fsspec"}


def test_the_sample_service_stands_beside_the_house():
    for module in SAMPLE_MODULES:
        assert packages_of(module) - {"sample"} <= SAMPLE_SEES, module
    users = {module for module in MODULES if "sample" in packages_of(module)}
    assert users == SAMPLE_USERS


def test_a_foreign_library_has_its_importer_and_no_other():
    for library, importers in IMPORTERS.items():
        users = {
            one for one in ALL_MODULES if library in foreign_imports_of(source_of(one))
        }
        if library in SAMPLE_LIBRARIES:
            users -= {*SAMPLE_MODULES}
        assert users == importers, library


def test_nothing_foreign_is_imported_but_what_is_declared():
    known = {*IMPORTERS, "allenfs", *sys.stdlib_module_names}
    known |= {"typing_extensions"}  # for the type checker only
    for path in SOURCES:
        assert foreign_imports_of(path) <= known, path


def test_every_module_logs_without_raising():
    loggers = [path for path in SOURCES if "getLogger(__name__)" in path.read_text()]
    assert loggers == []
    assert "text" in own_imports_of("adapters.fuse_operations")


def test_the_policies_are_cachetools_own():
    for module in IMPORTERS["cachetools"]:
        names = {
            name.partition(".")[2]
            for name in imports_of(source_of(module))
            if name.startswith("cachetools.")
        }
        assert names <= {"LRUCache", "TTLCache", "TLRUCache", "cached"}, module


def test_no_module_is_longer_than_350_lines():
    lines = {path: len(path.read_text().splitlines()) for path in SOURCES}
    assert {path: count for path, count in lines.items() if count > MAX_LINES} == {}


def test_every_module_says_its_one_job_and_postpones_annotations():
    for path in SOURCES:
        text = path.read_text()
        docstring = ast.get_docstring(ast.parse(text))
        assert docstring, path
        assert docstring.splitlines()[0].endswith("."), path
        if "\ndef " in text or "\nclass " in text:
            assert "\nfrom __future__ import annotations\n" in text, path


def test_the_filesystem_comes_without_fuse_and_without_requests():
    loaded = python(
        "-c", "import allenfs.filesystem.filesystem, sys; print(*sys.modules)"
    )
    assert not {"fuse", "requests", "urllib3", "PIL", "numpy"} & set(loaded.split())


def test_the_command_line_comes_without_fuse_and_without_requests():
    loaded = python("-c", "import allenfs.cli.main, sys; print(*sys.modules)")
    assert not {"fuse", "requests", "PIL", "numpy"} & set(loaded.split())


# One process imports module after module. The libraries are loaded before: what they do
# at their import is theirs.
IMPORT_EACH = """
import importlib, logging, os, signal, sys, threading

libraries, modules = ([*names.split()] for names in sys.argv[1:])
for library in libraries:
    importlib.import_module(library)

def look():
    tasks, files = os.listdir("/proc/self/task"), os.listdir("/proc/self/fd")
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    loggers = [logging.getLogger(name).handlers[:] for name in ("", "allenfs")]
    environ, mask = dict(os.environ), os.umask(0o22)
    return environ, os.getcwd(), mask, len(tasks), len(files), handlers, loggers

def watch(event, arguments):
    creates = event == "open" and arguments[2] & (os.O_CREAT | os.O_WRONLY)
    if creates or event.startswith(("socket.", "subprocess.", "os.mk", "os.fork")):
        done.append((event, arguments))

done, before = [], look()
sys.addaudithook(watch)
for module in modules:
    importlib.import_module(module)
    assert not done, (module, done)
    after = look()
    assert after == before, (module, after, before)
    assert threading.active_count() == 1, module
"""


def test_an_import_does_nothing():
    names = [f"allenfs.{name}".removesuffix(".__init__") for name in ALL_MODULES]
    names.remove("allenfs.__main__")
    assert python("-B", "-c", IMPORT_EACH, " ".join(IMPORTERS), " ".join(names)) == ""
