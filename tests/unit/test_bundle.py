"""A signed bundle is taken as it was signed, by a trusted key, or one line says what is wrong with it."""

import base64
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device.core.formulary import Formulary
from device.settings import FORMULARY, ConfigurationError, load_formulary
from device.settings.bundle import (
    DOMAIN,
    MANIFEST,
    SIGNATURE,
    TRUSTED,
    PrivateKey,
    new_key,
    private_text,
    read_private_key,
    sign,
    trusted_text,
    verified,
)
from device.settings.ed25519 import is_signed, public_key, signature
from tests.support.settings import SHIPPED, Draft

PROFILE = "profiles/nappage.toml"


def found_in(draft: Draft, *, simulated: bool = True) -> Formulary:
    folder = draft.directory / FORMULARY
    return verified(folder, load_formulary(folder), trusted=draft.directory / TRUSTED, simulated=simulated)


def problem_of(draft: Draft, *, simulated: bool = True) -> str:
    """Return the one line, without the directory; fails where there is none."""
    problem = found_in(draft, simulated=simulated).problem
    assert problem
    assert "\n" not in problem
    return problem.replace(f"{draft.directory}/", "")


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    return Draft(tmp_path / "mesogun")


def test_the_shipped_formulary_is_signed_for_simulated_consoles_and_for_no_other() -> None:
    folder = SHIPPED / FORMULARY
    files = load_formulary(folder)
    simulated = verified(folder, files, trusted=SHIPPED / TRUSTED, simulated=True)
    assert (simulated.problem, simulated.signed_by) == ("", "demo")
    real = verified(folder, files, trusted=SHIPPED / TRUSTED, simulated=False)
    assert real.problem == (
        "signed by the key demo, which is trusted on a simulated console alone: sign your own formulary"
    )
    assert real.version == 0


def test_a_bundle_says_what_was_signed(draft: Draft) -> None:
    folder = draft.directory / FORMULARY
    key, trusted = new_key("pharmacy")
    (draft.directory / TRUSTED / "pharmacy.toml").write_text(trusted)
    sign(folder, load_formulary(folder), key, version=7, author="A. Nobody", signed=date(2026, 1, 31), days=365)
    formulary = found_in(draft, simulated=False)
    assert (formulary.version, formulary.author, formulary.signed_by) == (7, "A. Nobody", "pharmacy")
    assert (formulary.signed_ms, formulary.expires_ms) == (1_769_817_600_000, 1_801_353_600_000)
    assert (formulary.problem, len(formulary.sha256)) == ("", 64)


def altered(draft: Draft) -> None:
    with (draft.directory / FORMULARY / PROFILE).open("a") as file:
        file.write("# one more line\n")


def removed(draft: Draft) -> None:
    (draft.directory / FORMULARY / PROFILE).unlink()


def added(draft: Draft) -> None:
    profiles = draft.directory / FORMULARY / "profiles"
    text = (profiles / "nappage.toml").read_text().replace('name = "nappage"', 'name = "deeper"')
    (profiles / "deeper.toml").write_text(text)


def manifest_altered(draft: Draft) -> None:
    manifest = draft.directory / FORMULARY / MANIFEST
    manifest.write_text(manifest.read_text().replace("version = ", "version = 1"))


def unsigned(draft: Draft) -> None:
    (draft.directory / FORMULARY / SIGNATURE).unlink()


def signed_by_a_stranger(draft: Draft) -> None:
    folder = draft.directory / FORMULARY
    sign(folder, load_formulary(folder), new_key("stranger")[0], version=1, author="x", signed=date.today(), days=1)  # noqa: DTZ011


def signed_in_a_trusted_name(draft: Draft) -> None:
    folder = draft.directory / FORMULARY
    sign(folder, load_formulary(folder), new_key("demo")[0], version=1, author="x", signed=date.today(), days=1)  # noqa: DTZ011


def cut_signature(draft: Draft) -> None:
    (draft.directory / FORMULARY / SIGNATURE).write_text('key = "demo"\nsignature = "abc"\n')


def spoilt_key(draft: Draft) -> None:
    (draft.directory / TRUSTED / "demo.toml").write_text('name = "demo"\npublic_key = 5\nsimulated_only = true\n')


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (altered, "formulary/profiles/nappage.toml was altered since it was signed: restore it, or sign anew"),
        (removed, "formulary/profiles/nappage.toml is missing, which was signed: restore it, or sign anew"),
        (
            added,
            "formulary/profiles/deeper.toml was added since formulary.toml was signed: remove it, or sign anew",
        ),
        (manifest_altered, "formulary/formulary.toml was altered since it was signed, or not signed by the key demo"),
        (unsigned, "formulary is not signed: `mesogun formulary sign formulary --key FILE --author NAME`"),
        (signed_by_a_stranger, "signed by the key stranger, which is not in trusted; trusted are: demo"),
        (
            signed_in_a_trusted_name,
            "formulary/formulary.toml was altered since it was signed, or not signed by the key demo",
        ),
        (
            cut_signature,
            'formulary/formulary.sig:2: signature: found the text "abc"; allowed is 64 bytes in base64; write such a '
            "text",
        ),
        (spoilt_key, "trusted/demo.toml:2: public_key: found 5; allowed is 32 bytes in base64; write it in quotation "
         "marks"),
    ],
)  # fmt: skip
def test_what_was_tampered_with_is_told_in_one_line(draft: Draft, spoil: Callable[[Draft], None], said: str) -> None:
    spoil(draft)
    assert problem_of(draft) == said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("version = ", "version = 10000000000000000000000", "version: found 10000000000000000000000"),
        ("version = ", "version = 0 # ", "version: found 0; allowed is a whole number, 1 to 1000000"),
        ("version = ", "version = nan # ", "version: found NaN; allowed is a whole number, 1 to 1000000"),
        ("signed = ", 'signed = "today" # ', 'signed: found the text "today"; allowed is a date such as 2026-12-31'),
        ("expires = ", "expires = 1999-01-01 # ", "expires must be after signed, by 3653 days at most"),
        ("author = ", 'author = "a\\nb" # ', "author: found the text"),
        ('path = "limits.toml"', 'path = "../limits.toml"', 'path: found the text "../limits.toml"; allowed is a path'),
        ('path = "limits.toml"', 'path = "profiles/nappage.toml"', "files must name each path once"),
        ("author = ", 'colour = "blue"\nauthor = ', "colour: found an unknown key"),
    ],
)
def test_a_manifest_that_is_none_is_told_in_one_line_even_if_it_is_signed(
    draft: Draft, old: str, new: str, said: str
) -> None:
    folder = draft.directory / FORMULARY
    manifest = (folder / MANIFEST).read_text().replace(old, new, 1)
    (folder / MANIFEST).write_text(manifest)
    key = read_private_key(Path(__file__).parents[1] / "keys/demo.key")
    signed = base64.b64encode(signature(key.seed, DOMAIN + manifest.encode())).decode()
    (folder / SIGNATURE).write_text(f'key = "demo"\nsignature = "{signed}"\n')
    assert said in problem_of(draft)


def test_a_signing_that_was_broken_off_leaves_an_unsigned_bundle(draft: Draft, tmp_path: Path) -> None:
    folder = draft.directory / FORMULARY
    with pytest.raises(ValueError, match="version"):
        sign(folder, {}, new_key("x")[0], version=0, author="x", signed=date(2026, 1, 1), days=1)
    # What may not be signed changes nothing.
    assert found_in(draft).problem == ""


def test_a_signature_of_the_manifest_alone_is_none(draft: Draft) -> None:
    key, _ = new_key("x")
    assert is_signed(public_key(key.seed), b"a", signature(key.seed, b"a"))
    assert not is_signed(public_key(key.seed), DOMAIN + b"a", signature(key.seed, b"a"))


def test_a_private_key_is_read_back_and_what_is_none_is_refused(tmp_path: Path) -> None:
    key, _ = new_key("pharmacy")
    path = tmp_path / "pharmacy.key"
    path.write_text(private_text(key))
    assert read_private_key(path) == key
    path.write_text(trusted_text(key))
    with pytest.raises(ConfigurationError) as refusal:
        read_private_key(path)
    assert str(path) in str(refusal.value)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_no_byte_of_a_bundle_can_be_changed_unseen(
    tmp_path_factory: pytest.TempPathFactory, place: int, flip: int
) -> None:
    directory = tmp_path_factory.mktemp("flip") / "config"
    draft = Draft(directory)
    folder = directory / FORMULARY
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SIGNATURE)
    path = files[place % len(files)]
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= flip
    path.write_bytes(bytes(content))
    # What cannot even be read is refused: nothing starts with it.
    with suppress(ConfigurationError):
        assert found_in(draft).problem
    shutil.rmtree(directory)


def test_the_private_half_of_a_key_is_not_in_its_public_file() -> None:
    key = PrivateKey("x", bytes(range(32)))
    assert base64.b64encode(key.seed).decode() not in trusted_text(key)
