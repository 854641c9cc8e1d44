"""A pharmacist's way from a folder of files to a gun that takes them: keys, signing, installing, going back.

Each command is the process it is in service; what the console took is its journal's word.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from device.service.cli import main
from device.settings import load_formulary
from device.settings.bundle import read_private_key, sign
from tests.support.console_processes import Done, SimulatedConsole, mesogun, simulated_console
from tests.support.settings import SHIPPED, Draft

AUTHOR = "--author=a pharmacist"


TWICE = """name = "Sodium Chloride"
concentration_mg_per_ml = 1
most_mg = 9
limit_by = "a clinic"
limit_source = "a label"

[[ingredients]]
"""
"""Goes in front of the ingredient's name: the same one, written in another way, and a table of its own behind it."""


class Pharmacy:
    """A folder with a key, a formulary under edit, and a console's configuration that trusts the key."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.configuration = Draft(place / "console").directory
        self.formulary = place / "formulary"
        shutil.copytree(SHIPPED / "formulary", self.formulary)
        for made in ("formulary.toml", "formulary.sig"):
            (self.formulary / made).unlink()
        done = mesogun("formulary", "keygen", "pharmacy", "--out", place / "keys")
        assert done.code == 0, done.err
        shutil.copy(place / "keys/pharmacy.toml", self.configuration / "trusted")

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.formulary / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def sign(self, *options: object) -> Done:
        return mesogun("formulary", "sign", self.formulary, f"--key={self.place}/keys/pharmacy.key", AUTHOR, *options)

    def verify(self) -> Done:
        return mesogun("formulary", "verify", self.formulary, f"--trusted={self.configuration}/trusted")

    def install(self, *options: object) -> Done:
        return mesogun("formulary", "install", self.formulary, f"--config={self.configuration}", *options)


@pytest.fixture
def pharmacy(tmp_path: Path) -> Pharmacy:
    return Pharmacy(tmp_path)


@pytest.fixture
def console(pharmacy: Pharmacy) -> Iterator[SimulatedConsole]:
    with simulated_console(pharmacy.place / "state", pharmacy.configuration) as found:
        yield found


def history(console: SimulatedConsole) -> list[tuple[int, bool]]:
    done = mesogun("formulary", "history", f"--state={console.state}", "--json")
    return [(taken["version"], taken["rolled_back"]) for taken in json.loads(done.out)["taken"]]


def test_a_private_key_is_its_owners_alone_and_never_written_over(pharmacy: Pharmacy) -> None:
    private = pharmacy.place / "keys/pharmacy.key"
    assert private.stat().st_mode & 0o777 == 0o600
    before = private.read_text()
    again = mesogun("formulary", "keygen", "pharmacy", "--out", pharmacy.place / "keys")
    assert again.code == 1
    assert "is there already" in again.only_line()
    assert private.read_text() == before


def test_a_key_where_nobody_may_look_is_one_line(pharmacy: Pharmacy) -> None:
    done = mesogun("formulary", "keygen", "pharmacy", "--out", pharmacy.place / ("a" * 300))
    assert done.code == 1
    assert "File name too long; choose another --out" in done.only_line()


def test_what_is_signed_is_good_and_what_is_changed_after_it_is_not(pharmacy: Pharmacy) -> None:
    assert "is not signed" in pharmacy.verify().only_line()
    assert pharmacy.sign().code == 0
    assert "version 1 of a pharmacist, signed with the key pharmacy" in pharmacy.verify().out
    pharmacy.edit("limits.toml", "session_ml = 6", "session_ml = 7")
    done = pharmacy.verify()
    assert done.code == 1
    assert "limits.toml was altered since it was signed" in done.only_line()
    assert pharmacy.install().code == 1
    assert not (pharmacy.configuration / "formularies").exists()


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("limits.toml", "session_ml = 6", "session_l = 0.006", "session_l: found an unknown key"),
        ("serums/saline.toml", "per_ml = 9", "per_ml = -9", "found -9; allowed is a number of milligrams per mill"),
        ("serums/saline.toml", "per_ml = 9", "per_ml = nan", "concentration_mg_per_ml: found NaN"),
        ("serums/saline.toml", "per_ml = 9", f"per_ml = 1{'0' * 5000}", "a number too long"),
        ("serums/saline.toml", "vial_ml = 10", "vial_ml = 1e9", "vial_ml: found 1E+9"),
        ("serums/saline.toml", 'name = "sodium', f'{TWICE}name = "sodium', "sodium chloride listed more than once"),
    ],
)
def test_what_no_console_could_load_is_not_signed(pharmacy: Pharmacy, file: str, old: str, new: str, said: str) -> None:
    pharmacy.edit(file, old, new)
    done = pharmacy.sign()
    assert done.code == 1
    assert said in done.only_line()
    assert not (pharmacy.formulary / "formulary.toml").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--version=3000000"], "version"),
        (["--valid-days=9999"], "expires must be after signed, by 3653 days at most"),
        (["--valid-days=3000000"], "expires must be after signed, by 3653 days at most"),
        (["--valid-days=99999999999"], "expires must be after signed, by 3653 days at most"),
        (['--author="quoted"'], "author"),
    ],
)
def test_a_manifest_that_nobody_could_read_is_not_written(pharmacy: Pharmacy, options: list[str], said: str) -> None:
    done = pharmacy.sign(*options)
    assert done.code == 1
    assert said in done.only_line()
    assert not (pharmacy.formulary / "formulary.toml").exists()


def test_a_formulary_that_this_console_cannot_reach_is_not_installed(pharmacy: Pharmacy) -> None:
    pharmacy.edit("profiles/nappage.toml", "entry_speed_mm_s = 40", "entry_speed_mm_s = 90")
    assert pharmacy.sign().code == 0
    done = pharmacy.install()
    assert done.code == 1
    assert "the needle.fastest_mm_s of device.toml" in done.only_line()
    assert not (pharmacy.configuration / "formulary").is_symlink()


def test_from_files_to_a_gun_and_back_to_the_version_before(pharmacy: Pharmacy, console: SimulatedConsole) -> None:
    # Far beyond the version that the console came with, whichever that is.
    assert pharmacy.sign("--version=102").code == 0
    assert pharmacy.install().code == 0
    console.start()
    console.make_ready()
    assert console.status()["formulary_version"] == 102
    console.ask("session_stop")
    console.end()

    pharmacy.edit("limits.toml", "prime_ul = 300", "prime_ul = 10")
    done = pharmacy.sign()
    assert "version 103" in done.out
    changes = mesogun("formulary", "diff", pharmacy.configuration / "formulary", pharmacy.formulary).out
    assert "-prime_ul = 300\n+prime_ul = 10\n" in changes
    assert pharmacy.install().code == 0
    console.start()
    console.ask("home", plunger=True, patient_detached=True)
    console.start_session()
    (reason,) = console.refused("prime", volume_nl=20_000)
    assert "limits.prime_ul" in reason
    console.ask("session_stop")
    console.end()

    # Back to version 102: not by accident, neither on the disk nor in the gun.
    kept = next(path for path in (pharmacy.configuration / "formularies").iterdir() if path.name.startswith("102-"))
    older = ("formulary", "install", kept, f"--config={pharmacy.configuration}")
    assert "leave" not in mesogun(*older).only_line()
    assert "--roll-back" in mesogun(*older).only_line()
    assert mesogun(*older, "--roll-back").code == 0
    console.start()
    (reason,) = console.refused("session_start", profile="continuous", serum="saline", syringe="1ml")
    assert reason.startswith("formulary version 102 is older than version 103 that this console has taken")
    back = console.cli("formulary", "roll-back", "--reason=too little to prime", "--by=a physician")
    assert back.code == 0, back.err
    console.start_session()
    console.ask("session_stop")
    assert history(console) == [(102, False), (103, False), (102, True)]
    told = mesogun("formulary", "history", f"--state={console.state}").out
    assert "ROLLED BACK by a physician" in told
    console.verify()


def test_what_was_altered_where_it_lies_is_not_installed_again_as_it_is(pharmacy: Pharmacy) -> None:
    assert pharmacy.sign("--version=5").code == 0
    assert pharmacy.install().code == 0
    place = (pharmacy.configuration / "formulary").resolve()
    with (place / "limits.toml").open("a") as file:
        file.write("# altered\n")
    (pharmacy.configuration / "formulary").unlink()
    assert "limits.toml was altered since it was installed" in pharmacy.install().only_line()


def test_an_expired_formulary_is_neither_good_nor_installed(pharmacy: Pharmacy) -> None:
    key = read_private_key(pharmacy.place / "keys/pharmacy.key")
    files = load_formulary(pharmacy.formulary)
    sign(pharmacy.formulary, files, key, version=1, author="a pharmacist", signed=date(2025, 1, 1), days=30)
    for done in (pharmacy.verify(), pharmacy.install()):
        assert done.code == 1
        assert "formulary version 1 has expired on 2025-01-31: sign anew" in done.only_line()
    assert not (pharmacy.configuration / "formularies").exists()


def test_the_check_of_the_configuration_says_that_its_formulary_has_expired(pharmacy: Pharmacy) -> None:
    key = read_private_key(pharmacy.place / "keys/pharmacy.key")
    formulary = pharmacy.configuration / "formulary"
    files = load_formulary(formulary)
    sign(formulary, files, key, version=1, author="a pharmacist", signed=date(2025, 1, 1), days=30)
    problem = "formulary version 1 has expired on 2025-01-31: sign anew"

    done = mesogun("config", "check", f"--config={pharmacy.configuration}")
    assert f"formulary: nothing will be released: {problem}\n" in done.out
    done = mesogun("config", "check", f"--config={pharmacy.configuration}", "--json")
    assert json.loads(done.out)["formulary_problem"] == problem


def test_what_was_added_where_it_lies_is_not_installed_again_as_it_is(pharmacy: Pharmacy) -> None:
    assert pharmacy.sign("--version=5").code == 0
    assert pharmacy.install().code == 0
    place = (pharmacy.configuration / "formulary").resolve()
    shutil.copy(place / "serums/saline.toml", place / "serums/more.toml")
    (pharmacy.configuration / "formulary").unlink()
    assert "serums/more.toml was added since it was installed" in pharmacy.install().only_line()


def test_whoever_installs_it_the_services_account_can_read_it(pharmacy: Pharmacy) -> None:
    assert pharmacy.sign("--version=5").code == 0
    before = os.umask(0o077)
    try:
        assert pharmacy.install().code == 0
    finally:
        os.umask(before)
    kept = pharmacy.configuration / "formularies"
    for path in (kept, *(kept / (pharmacy.configuration / "formulary").resolve().name).rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


def test_a_directory_put_in_the_links_place_by_hand_is_kept_each_time(pharmacy: Pharmacy) -> None:
    formulary, kept = pharmacy.configuration / "formulary", pharmacy.configuration / "formularies"
    for version in (105, 106):
        assert pharmacy.sign(f"--version={version}").code == 0
        assert pharmacy.install().code == 0
        (formulary.resolve() / "limits.toml").chmod(0o644)
        place = formulary.resolve()
        formulary.unlink()
        shutil.copytree(place, formulary)
    assert pharmacy.sign("--version=107").code == 0
    done = pharmacy.install()
    assert done.code == 0, done.err
    names = {path.name for path in kept.iterdir() if path.name.startswith("before")}
    assert names == {f"before-the-first-installed{more}" for more in ("", "-2", "-3")}


@pytest.mark.parametrize("call", ["symlink", "replace"])
def test_an_install_that_fails_leaves_the_formulary_that_was_there(
    pharmacy: Pharmacy, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pharmacy.sign("--version=105").code == 0
    before = {path.name: path.read_bytes() for path in (pharmacy.configuration / "formulary").glob("*.toml")}
    here: Callable[..., None] = getattr(os, call)

    def full(source: Path, target: Path, *rest: Any, **more: Any) -> None:
        if str(target).endswith((".formulary.draft", "console/formulary")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))
        here(source, target, *rest, **more)

    monkeypatch.setattr(os, call, full)
    code = main(["formulary", "install", str(pharmacy.formulary), f"--config={pharmacy.configuration}"])

    assert code == 1
    formulary = pharmacy.configuration / "formulary"
    assert not formulary.is_symlink()
    assert {path.name: path.read_bytes() for path in formulary.glob("*.toml")} == before


def test_an_altered_formulary_makes_room_for_no_older_one(pharmacy: Pharmacy) -> None:
    assert pharmacy.sign("--version=5").code == 0
    assert pharmacy.install().code == 0
    installed = pharmacy.configuration / "formulary/limits.toml"
    installed.write_text(installed.read_text() + "# altered\n")
    (pharmacy.formulary / "formulary.toml").unlink()
    assert pharmacy.sign("--version=4").code == 0
    assert "is version 4, in force is 5" in pharmacy.install().only_line()


def test_a_gun_with_an_altered_formulary_starts_says_why_and_releases_nothing(
    pharmacy: Pharmacy, console: SimulatedConsole
) -> None:
    path = pharmacy.configuration / "formulary/limits.toml"
    path.write_text(path.read_text().replace("session_ml = 6", "session_ml = 9"))
    console.start()
    reasons = console.refused("session_start", profile="continuous", serum="saline", syringe="1ml")
    assert len(reasons) == 1
    assert "limits.toml was altered since it was signed" in reasons[0]
    assert reasons[0] in console.cli("status").out
    assert history(console) == []
    # What needs no formulary goes on.
    console.ask("home")
