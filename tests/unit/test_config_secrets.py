"""A secret is read when it is needed, from where only we can read it."""

import dataclasses
import os
import stat
from pathlib import Path

import pytest

from syncd.config import SecretRef, SecretUnavailable
from syncd.config.secrets import mode_refusal

HUSH = "s3cr3t-value-0123"


def secret_file(
    folder: Path, content: bytes = HUSH.encode(), mode: int = 0o600
) -> Path:
    file = folder / "api_key"
    file.write_bytes(content)
    file.chmod(mode)
    return file


def reference(file: Path, *, token: bool = True) -> SecretRef:
    return SecretRef(key="x.api_key_file", origin="a.yaml:3:5", file=file, token=token)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_one_trailing_line_end_does_not_belong_to_a_secret(
    tmp_path: Path, end: bytes
) -> None:
    ref = reference(secret_file(tmp_path, HUSH.encode() + end))

    assert ref.read() == HUSH


def test_a_rotated_secret_counts_at_the_next_read(tmp_path: Path) -> None:
    file = secret_file(tmp_path)
    ref = reference(file)
    ref.read()

    file.write_text("another")

    assert ref.read() == "another"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o602])
def test_a_secret_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    ref = reference(secret_file(tmp_path, mode=mode))

    with pytest.raises(SecretUnavailable, match="by others") as caught:
        ref.read()

    assert caught.value.code == "secret.open"
    assert "chmod 600" in caught.value.hint


def test_a_runtime_may_mount_secrets_that_all_its_processes_read(
    tmp_path: Path,
) -> None:
    file = secret_file(tmp_path, mode=0o444)
    variables = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    ref = dataclasses.replace(reference(file), lookup=variables.get)

    assert ref.read() == HUSH


def test_a_mounted_secret_behind_the_links_of_kubernetes_is_read(
    tmp_path: Path,
) -> None:
    (tmp_path / "..2026").mkdir()
    secret_file(tmp_path / "..2026", mode=0o440)
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "api_key").symlink_to("..data/api_key")
    variables = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    ref = dataclasses.replace(reference(tmp_path / "api_key"), lookup=variables.get)

    assert ref.read() == HUSH


@pytest.mark.parametrize(
    ("mode", "in_mount", "accepted"),
    [
        (0o400, False, True),
        (0o600, False, True),
        (0o440, False, False),
        (0o440, True, True),
        (0o444, True, True),
        (0o644, True, True),
        (0o664, True, False),
        (0o602, True, False),
    ],
)
def test_which_modes_are_private_enough(
    mode: int, in_mount: bool, accepted: bool
) -> None:
    refusal = mode_refusal(stat.S_IFREG | mode, in_mount=in_mount)

    assert (not refusal) is accepted


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "secret.empty"),
        (b"\n", "secret.empty"),
        (b"two words", "secret.malformed"),
        (b"two\nlines", "secret.malformed"),
        ("schlüssel".encode(), "secret.malformed"),
        (b"\xff\xfe\x00", "secret.malformed"),
        (b"x" * 70_000, "secret.malformed"),
    ],
)
def test_what_cannot_be_a_key_is_refused_without_showing_it(
    tmp_path: Path, content: bytes, code: str
) -> None:
    ref = reference(secret_file(tmp_path, content))

    with pytest.raises(SecretUnavailable) as caught:
        ref.read()

    assert caught.value.code == code
    assert "x.api_key_file" in str(caught.value)
    assert "a.yaml:3:5" in str(caught.value)
    for part in ("words", "lines", "schl", "xxx"):
        assert part not in str(caught.value)


def test_a_missing_secret_names_its_file_and_its_key(tmp_path: Path) -> None:
    ref = reference(tmp_path / "nothing")

    with pytest.raises(SecretUnavailable, match="No such file") as caught:
        ref.read()

    assert caught.value.code == "secret.missing"
    assert str(tmp_path / "nothing") in str(caught.value)


def test_a_folder_is_no_secret(tmp_path: Path) -> None:
    with pytest.raises(SecretUnavailable):
        reference(tmp_path).read()


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)

    with pytest.raises(SecretUnavailable, match="not a regular file"):
        reference(tmp_path / "pipe").read()


def test_a_secret_comes_from_a_variable_or_from_text_around_one() -> None:
    variables = {"AMPLITUDE_KEY": HUSH, "SYNCD_PW": "p w"}
    by_name = SecretRef(key="k", origin="o", env="AMPLITUDE_KEY", lookup=variables.get)
    by_text = SecretRef(
        key="k", origin="o", template="pg://u:${SYNCD_PW}@h", lookup=variables.get
    )

    assert by_name.read() == HUSH
    assert by_text.read() == "pg://u:p w@h"


@pytest.mark.parametrize(("env", "template"), [("NO", ""), ("", "${SYNCD_NO}")])
def test_a_variable_that_is_not_set_is_named(env: str, template: str) -> None:
    ref = SecretRef(key="k", origin="o", env=env, template=template)

    with pytest.raises(SecretUnavailable, match=r"\$(SYNCD_)?NO .*is not set"):
        ref.read()


def test_a_reference_never_prints_the_secret_or_the_environment() -> None:
    variables = {"KEY": HUSH}
    ref = SecretRef(key="k", origin="o", env="KEY", lookup=variables.get)

    ref.read()

    for text in (repr(ref), str(ref), str(dataclasses.asdict(ref))):
        assert HUSH not in text


def test_the_same_secret_on_another_line_is_the_same_setting(tmp_path: Path) -> None:
    def at(origin: str) -> SecretRef:
        return SecretRef(key="store.url_file", origin=origin, file=tmp_path / "url")

    assert at("syncd.yaml:3:1") == at("syncd.yaml:7:1")
    assert at("syncd.yaml:3:1") != SecretRef(
        key="store.url_file", origin="syncd.yaml:3:1", file=tmp_path / "other"
    )
