"""The rows of the house: who may import whom, and what an import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import allenfs

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(allenfs.__file__).parent
MAX_LINES = 350

# A module imports only from rows above its own.
ROWS = (
    ("__init__",),
    # pure
    ("errors", "jpeg", "safe_log", "wording"),
    ("prefetch.__init__", "prefetch.path_list", "prefetch.progress"),
    ("labels",),
    ("parameters", "config", "times"),
    ("images", "rma", "network", "prefetch.selection"),
    ("records", "viewer_pages"),
    ("nodes",),
    ("views",),
    ("sheets",),
    ("tree",),
    # mechanism
    ("mount_table", "serving", "threads"),
    ("answers", "watchdog", "sealed", "journal", "recency", "mountpoint"),
    ("certificates", "credentials"),
    ("windowed", "trust", "notify", "connections", "foreign_errors", "retry"),
    ("layout", "spool"),
    ("turns", "single_flight", "compared", "recent_log", "log_output", "trouble"),
    ("prefetch.outage",),
    ("prefetch.gathering",),
    ("transport", "store", "shelf"),
    ("service",),
    ("upkeep",),
    # policy
    ("paging", "documents", "failures", "downloads", "sources"),
    ("activity",),
    ("sheet_page",),
    ("sheet_maker",),
    ("questions", "fetcher", "kernel_view", "entries", "handles"),
    ("runs",),
    ("readahead",),
    ("lists", "stock"),
    ("archive",),
    ("glance", "info", "browse"),
    ("own_files", "status"),
    ("catalog", "namespace"),
    ("filesystem", "xattrs"),
    ("house",),
    ("prefetch.direct_tree", "prefetch.mounted_tree"),
    # adapter
    ("translator",),
    ("interrupts", "lasting", "libfuse", "fuse_options", "stat_fields", "verbosity"),
    ("byte_paths", "listeners"),
    ("operations",),
    # shell
    ("arguments", "embedded", "prefetch.report"),
    ("mount", "unmount", "mount_status", "status_page"),
    ("doctor.__init__",),
    ("doctor.findings",),
    ("doctor.fuse", "doctor.host", "doctor.wire"),
    ("doctor.storage",),
    ("doctor.replies",),
    ("commands.__init__",),
    (
        *("commands.mount", "commands.umount", "commands.url", "commands.path"),
        *("commands.cache", "commands.sample_service", "commands.doctor"),
        *("commands.status", "commands.prefetch"),
    ),
    ("mount_helper",),
    ("integration.__init__",),
    ("integration.completion", "integration.manual", "integration.service_unit"),
    ("integration.files",),
    ("commands.integrate",),
    ("cli",),
    ("__main__",),
)
ROW_OF = {module: number for number, row in enumerate(ROWS) for module in row}
LAST_PURE_ROW = ROW_OF["tree"]
# Beside the rows: imports pure modules only, imported by these alone.
SAMPLE_USERS = {"embedded"}

IMPORTERS = {
    "fuse": {"operations"},
    "mfusepy": {"operations"},
    "requests": {"transport", "connections", "foreign_errors"},
    "urllib3": {"connections", "foreign_errors"},
    "shtab": {"integration.completion"},
    "cachetools": {"recency", "failures", "stock", "archive", "glance"},
    "socks": {"connections"},
}
SAMPLE_LIBRARIES = {"PIL", "numpy"}
# beside the sample service
DRAWING = {"PIL": {PACKAGE / "sheet_page.py"}}

PACKAGES = {
    f"{name}.{path.stem}"
    for name in ("commands", "doctor", "integration", "prefetch")
    for path in PACKAGE.glob(f"{name}/*.py")
}
MODULES = sorted({path.stem for path in PACKAGE.glob("*.py")} | PACKAGES)
SAMPLE_MODULES = sorted(f"sample.{path.stem}" for path in PACKAGE.glob("sample/*.py"))
SOURCES = sorted(PACKAGE.rglob("*.py"))


def source_of(module: str) -> Path:
    return PACKAGE.joinpath(*module.split(".")).with_suffix(".py")


def imports_of(path: Path) -> Iterator[str]:
    """Dotted names of everything imported anywhere in a file."""
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
        root, *rest = name.split(".")
        if root != "allenfs":
            continue
        if rest and rest[0] == "sample":
            found.add("sample")
        elif ".".join(rest[:2]) in MODULES:
            found.add(".".join(rest[:2]))
        else:
            found.add(rest[0] if rest and rest[0] in MODULES else "__init__")
    return found


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
            waiting += own_imports_of(name) - {"sample"}
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


def test_every_module_has_its_row() -> None:
    assert sorted(ROW_OF) == MODULES
    assert len(ROW_OF) == sum(map(len, ROWS))


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_rows_above_its_own(module: str) -> None:
    upwards = own_imports_of(module) - {"sample"}
    wrong = {other for other in upwards if ROW_OF[other] >= ROW_OF[module]}
    assert wrong == set()


def test_the_walk_sees_the_imports_that_there_are() -> None:
    assert own_imports_of("tree") >= {"errors", "images"}
    assert own_imports_of("mount") >= {"house", "operations"}
    assert own_imports_of("cli") >= {"commands.mount", "commands.url"}
    assert own_imports_of("embedded") >= {"sample"}
    for library, importers in IMPORTERS.items():
        for module in importers:
            assert library in foreign_imports_of(source_of(module))
    assert foreign_below("cli") >= {*IMPORTERS}


@pytest.mark.parametrize("module", SAMPLE_MODULES)
def test_the_sample_service_stands_beside_the_house(module: str) -> None:
    own = own_imports_of(module) - {"sample"}
    assert {other for other in own if ROW_OF[other] > LAST_PURE_ROW} == set()


def test_only_the_shell_knows_the_sample_service() -> None:
    users = {module for module in MODULES if "sample" in own_imports_of(module)}
    assert users == SAMPLE_USERS


@pytest.mark.parametrize(("library", "importers"), IMPORTERS.items())
def test_a_foreign_library_has_its_importer_and_no_other(
    library: str, importers: set[str]
) -> None:
    modules = [*MODULES, *SAMPLE_MODULES]
    found = {one for one in modules if library in foreign_imports_of(source_of(one))}
    assert found == importers


@pytest.mark.parametrize("library", sorted(SAMPLE_LIBRARIES))
def test_only_the_sample_service_and_the_sheets_draw(library: str) -> None:
    users = {path for path in SOURCES if library in foreign_imports_of(path)}
    own = DRAWING.get(library, set())
    assert own < users
    assert {path.parent.name for path in users - own} == {"sample"}


def test_nothing_foreign_is_imported_but_what_is_declared() -> None:
    known = {*IMPORTERS, *SAMPLE_LIBRARIES, "allenfs", *sys.stdlib_module_names}
    known |= {"typing_extensions"}  # for the type checker only
    for path in SOURCES:
        assert foreign_imports_of(path) <= known, path


def test_every_module_uses_safe_log() -> None:
    loggers = [path for path in SOURCES if "getLogger(__name__)" in path.read_text()]
    assert loggers == []
    assert "safe_log" in own_imports_of("operations")


def test_recency_has_the_lru_and_the_others_times_to_live() -> None:
    policies = {
        module: {
            name.partition(".")[2]
            for name in imports_of(source_of(module))
            if name.startswith("cachetools.")
        }
        for module in IMPORTERS["cachetools"]
    }
    assert policies.pop("recency") == {"LRUCache"}
    for names in policies.values():
        assert names <= {"TTLCache", "TLRUCache"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_module_is_longer_than_350_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("module", [*MODULES, *SAMPLE_MODULES])
def test_every_module_says_its_one_job_and_postpones_annotations(module: str) -> None:
    text = source_of(module).read_text()
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring
    assert docstring.splitlines()[0].endswith(".")
    if "\ndef " in text or "\nclass " in text:
        assert "\nfrom __future__ import annotations\n" in text


def test_the_filesystem_comes_without_fuse_and_without_requests() -> None:
    loaded = python(
        "-c", "import allenfs.filesystem.filesystem, sys; print(*sys.modules)"
    )
    assert not {"fuse", "requests", "urllib3", "PIL", "numpy"} & set(loaded.split())


def test_the_command_line_comes_without_fuse_and_without_requests() -> None:
    loaded = python("-c", "import allenfs.cli.main, sys; print(*sys.modules)")
    assert not {"fuse", "requests", "PIL", "numpy"} & set(loaded.split())


# What the libraries do at their import is theirs: they are loaded before.
SIDE_EFFECTS = """
import logging, os, signal, sys, threading
for library in {libraries}:
    __import__(library)

def look():
    tasks, files = os.listdir("/proc/self/task"), os.listdir("/proc/self/fd")
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    loggers = [logging.getLogger(name).handlers for name in ("", "allenfs")]
    environ, mask = dict(os.environ), os.umask(0o22)
    return environ, os.getcwd(), mask, len(tasks), len(files), handlers, loggers

def watch(event, arguments):
    creates = event == "open" and arguments[2] & (os.O_CREAT | os.O_WRONLY)
    if creates or event.startswith(("socket.", "subprocess.", "os.mk", "os.fork")):
        done.append((event, arguments))

done, before = [], look()
sys.addaudithook(watch)
import {modules}
assert not done, done
after = look()
assert after == before, (after, before)
assert threading.active_count() == 1
"""


IMPORTED = [name for name in MODULES if name != "__main__"]
IMPORTED.append(" ".join(SAMPLE_MODULES))


@pytest.mark.parametrize("modules", IMPORTED, ids=lambda modules: modules[:12])
def test_an_import_does_nothing(modules: str) -> None:
    names = modules.split()
    foreign = set().union(*map(foreign_below, names))
    program = SIDE_EFFECTS.format(
        libraries=sorted(foreign & {*IMPORTERS, *SAMPLE_LIBRARIES}),
        modules=", ".join(f"allenfs.{name}" for name in names).replace(".__init__", ""),
    )
    assert python("-B", "-c", program) == ""


def test_the_package_says_that_it_is_typed() -> None:
    assert resources.files("allenfs").joinpath("py.typed").is_file()
    declared = (PACKAGE.parent / "pyproject.toml").read_text()
    assert '"py.typed"' in declared
