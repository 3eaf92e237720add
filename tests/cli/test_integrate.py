"""allenfs integrate: what it writes, in real shells, man and systemd's own checks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from allenfs.cli import fstab, main
from allenfs.cli.integrate import manual, service_unit

PROGRAMS = Path(sys.executable).parent
USER_FILES = {
    "bash-completion/completions/allenfs",
    "zsh/site-functions/_allenfs",
    "fish/vendor_completions.d/allenfs.fish",
    "man/man1/allenfs.1",
    "man/man8/mount.allenfs.8",
    "systemd/user/allenfs@.service",
}


class Home:
    """A user's home folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.share = folder / ".local/share"
        self.environ = {
            "HOME": str(folder),
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "XDG_RUNTIME_DIR": str(folder),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
        }

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            list(map(str, arguments)),
            capture_output=True,
            text=True,
            check=False,
            env=self.environ,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
        )

    def integrate(self, *arguments: str | Path) -> list[str]:
        done = self.run(PROGRAMS / "allenfs", "integrate", *(arguments or ("--user",)))
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    def fails(self, code: int, *arguments: str | Path) -> str:
        done = self.run(PROGRAMS / "allenfs", "integrate", *arguments)
        assert done.returncode == code
        lines = done.stderr.splitlines()
        assert "Traceback" not in done.stderr
        return lines[-1]

    def files(self) -> set[str]:
        found = self.share.rglob("*")
        return {str(path.relative_to(self.share)) for path in found if path.is_file()}


@pytest.fixture
def home(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    return Home(tmp_path)


@pytest.fixture
def integrated(home):
    home.integrate()
    return home


def bash(home: Home, *words: str) -> list[str]:
    program = """
        . "$0"
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
        $(complete -p allenfs | sed 's/.*-F \\([^ ]*\\) .*/\\1/') allenfs "${!#}"
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    script = home.share / "bash-completion/completions/allenfs"
    done = home.run("bash", "-c", program, script, *words)
    return done.stdout.split()


def fish(home: Home, *words: str) -> list[str]:
    line = " ".join(words)
    done = home.run("fish", "-c", f"complete -C '{line}'")
    return [found.partition("\t")[0].rstrip("/") for found in done.stdout.splitlines()]


# compadd tells its matches, in a line that is being edited. A terminal echoes what is
# written to it, once or twice: the marks are not written as they are printed.
_ZSH = r"""
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PS1= PS2= fpath=($1 \$fpath)"
zpty -w z 'autoload -Uz compinit && compinit -u -d $HOME/.zdump'
zpty -w z 'compadd () {
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return $?; fi
    typeset -a __hits; builtin compadd -A __hits "$@"
    for one in $__hits; do print -r -- "HI""T<$one>"; done
    builtin compadd "$@"
}'
zpty -w z 'finish () { zle kill-buffer; print E""ND; zle -I }
zle -N finish; bindkey "^Y" finish'
zpty -w -n z "$2"$'\t'$'\x19'
zpty -r -m z found '*END*'
print -r -- "$found"
"""


def zsh(home: Home, *words: str) -> list[str]:
    done = home.run(
        "zsh",
        "-f",
        "-c",
        _ZSH,
        "zsh",
        home.share / "zsh/site-functions",
        " ".join(words),
    )
    return [part.partition(">")[0] for part in done.stdout.split("HIT<")[1:]]


@pytest.mark.parametrize("shell", [bash, fish, zsh])
def test_a_shell_completes_commands_flags_choices_and_paths(integrated, shell):
    def completes(*words: str) -> set[str]:
        return set(shell(integrated, "allenfs", *words))

    assert completes("mo") == {"mount"}
    assert completes("") >= set(main.COMMANDS)
    assert completes("cache", "") >= {"info", "verify", "clear"}
    assert completes("mount", "--cache-s") == {"--cache-size"}
    assert completes("mount", "--cache-dir", "fo") == {"folder"}
    assert completes("mount", "--log-file", "f") == {"folder", "file"}
    assert completes("umount", "f") == {"folder"}
    assert completes("url", "f") == {"folder", "file"}


def test_a_users_files_are_written_once_and_removed(home):
    written = home.integrate("--user")
    assert home.files() == USER_FILES
    contents = {name: (home.share / name).read_bytes() for name in USER_FILES}
    assert home.integrate("--user") == written
    assert {name: (home.share / name).read_bytes() for name in home.files()} == contents
    assert len(home.integrate("--user", "--uninstall")) == len(USER_FILES)
    assert home.files() == set()
    assert home.integrate("--user", "--uninstall") == ["nothing to remove"]


def test_a_package_has_its_files_below_its_root(home, tmp_path):
    root = tmp_path / "package"
    flags = ("--system", "--prefix", "/usr", "--destdir", root)
    home.integrate(*flags)
    sbin = root / ("usr/sbin" if Path("/sbin").is_symlink() else "sbin")
    links = {path.name: os.readlink(path) for path in sbin.iterdir()}
    helper = "/usr/bin/mount.allenfs"
    assert links == {"mount.allenfs": helper, "mount.fuse.allenfs": helper}
    unit = (root / "usr/lib/systemd/user" / service_unit.NAME).read_text()
    assert "ExecStart=/usr/bin/allenfs mount --foreground" in unit
    shares = USER_FILES - {"systemd/user/allenfs@.service"}
    assert all((root / "usr/share" / name).is_file() for name in shares)
    home.integrate(*flags, "--uninstall")
    assert [path for path in root.rglob("*") if not path.is_dir()] == []


def test_files_of_others_are_left_alone(home):
    theirs = home.share / "zsh/site-functions/_allenfs"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("#compdef allenfs\n")
    for flags in (["--user"], ["--user", "--uninstall"]):
        assert "remove it first" in home.fails(1, *flags)
    assert home.files() == {"zsh/site-functions/_allenfs"}
    theirs.unlink()
    os.mkfifo(theirs)
    assert "remove it first" in home.fails(1, "--user")
    theirs.unlink()
    home.integrate("--user")
    assert home.files() == USER_FILES


def test_a_wrong_command_line_is_one_line(home):
    assert "not allowed" in home.fails(2, "--user", "--system")
    assert "--system" in home.fails(2, "--user", "--destdir", "package")
    home.share.parent.mkdir()
    home.share.touch()
    assert "Not a directory" in home.fails(1, "--user")


def test_the_manual_says_every_command_flag_and_option(integrated):
    page = integrated.share / "man/man1/allenfs.1"
    done = integrated.run("man", "-l", page)
    for name, command in main.COMMANDS.items():
        assert f"allenfs {name}" in done.stdout, command
    for words in ("--cache-size SIZE", "ALLENFS_CACHE_DIR", "EXIT STATUS"):
        assert words in done.stdout
    done = integrated.run("man", "-l", integrated.share / "man/man8/mount.allenfs.8")
    for name in fstab.mount_flags():
        assert name in done.stdout
    assert "x-systemd.automount" in done.stdout
    assert "setuid=USER" in done.stdout
    assert "foreground" not in done.stdout.partition("MOUNT OPTIONS")[2].split()


@pytest.mark.parametrize(
    "reader", [["man", "--warnings", "-l"], ["mandoc", "-T", "lint", "-W", "warning"]]
)
def test_the_manual_is_without_a_warning(integrated, reader):
    for name in ("man1/allenfs.1", "man8/mount.allenfs.8"):
        done = integrated.run(*reader, integrated.share / "man" / name)
        assert (done.returncode, done.stderr) == (0, "")
        assert reader[0] == "man" or done.stdout == ""


def test_the_manual_of_a_package_has_the_day_of_its_source(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert manual.helper_page().startswith(".TH MOUNT.ALLENFS 8 1970-01-02 ")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")
    assert manual.helper_page().startswith(".TH MOUNT.ALLENFS 8 2")


@pytest.mark.parametrize("program", ["/usr/bin/true", "/a b/%h/$HOME/allenfs"])
def test_systemd_accepts_the_unit(home, program):
    unit = home.folder / "allenfs@tmp-a\\x20b.service"
    unit.write_text(service_unit.text(Path(program)))
    done = home.run("systemd-analyze", "--user", "--man=no", "verify", unit)
    said = [line for line in done.stderr.splitlines() if "not executable" not in line]
    assert said == []
    assert (done.returncode == 0) == (program == "/usr/bin/true")
    if done.returncode:  # it names the program as it is
        assert f"Command {program} is not executable" in done.stderr


def test_the_fstab_line_of_the_manual_makes_an_automount(home):
    table = home.folder / "fstab"
    table.write_text(f"{manual.FSTAB}\n")
    units = [home.folder / name for name in ("normal", "early", "late")]
    for folder in units:
        folder.mkdir()
    home.environ["SYSTEMD_FSTAB"] = str(table)
    generator = "/usr/lib/systemd/system-generators/systemd-fstab-generator"
    assert home.run(generator, *units).stderr == ""
    mount = (units[0] / "mnt-allen.mount").read_text().splitlines()
    options = "noauto,x-systemd.automount,_netdev,nofail,allow_other"
    expected = {"What=default", "Where=/mnt/allen", "Type=allenfs"}
    assert {*expected, f"Options={options}"} <= set(mount)
    automount = (units[0] / "mnt-allen.automount").read_text().splitlines()
    assert "Where=/mnt/allen" in automount
