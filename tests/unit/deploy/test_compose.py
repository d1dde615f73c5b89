"""docker-compose.yml, Dockerfile and systemd units: what can be said of them without a Docker engine.

compose-spec.json is the Compose Specification's own schema (Apache License 2.0), as check-jsonschema 0.39.0 ships it.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml

from retention.cli.main import retention

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
ONCE = {"migrate", "bucket"}
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("retention")]
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))


def test_the_file_is_what_compose_reads() -> None:
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text(encoding="utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(COMPOSE)] == []
    broken = json.loads(json.dumps(COMPOSE))
    broken["services"]["redis"]["healthchek"] = {}
    assert list(validator.iter_errors(broken))


def test_everything_that_was_asked_for_is_there() -> None:
    asked = {"redis", "postgres", "migrate", "worker", "beat", "metrics", "flower", "prometheus", "grafana", "s3"}
    assert set(SERVICES) == asked | {"bucket"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service(name: str) -> None:
    service = SERVICES[name]
    repository, _, tag = service["image"].partition(":")
    assert repository and re.search(r"[0-9]+[.-][0-9]+", tag), "an exact version, so never latest"
    limits = service["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory"}
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    assert ("healthcheck" in service) == (name not in ONCE)
    for other, wait in service.get("depends_on", {}).items():
        assert wait["condition"] == ("service_completed_successfully" if other in ONCE else "service_healthy")
        assert other in SERVICES
    for mount in (one.split(":")[0] for one in service.get("volumes", ())):
        assert mount in COMPOSE["volumes"] or mount.startswith("${") or (ROOT / mount).exists(), mount
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:"), "nothing is open to the network"


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_can_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["init"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["build"]["target"] in re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE, re.MULTILINE)


def test_no_secret_stands_in_it() -> None:
    known = set(COMPOSE["secrets"])
    for name, service in SERVICES.items():
        mounted = set(service.get("secrets", ()))
        assert mounted <= known
        for variable, value in service.get("environment", {}).items():
            if (
                re.search(r"PASSWORD|SECRET|TOKEN|_URL|ACCESS_KEY|AUTH", variable)
                and variable != "RETENTION_S3_ENDPOINT"
            ):
                assert variable.endswith("_FILE") and value.startswith("/run/secrets/"), (name, variable)
        text = json.dumps(service)
        assert set(re.findall(r"/run/secrets/(\w+)", text)) <= mounted, name
    for secret in COMPOSE["secrets"].values():
        assert secret["file"].startswith("./deploy/secrets/")
    assert "/deploy/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_secrets_are_made_once(tmp_path: Path) -> None:
    script = tmp_path / "make-secrets"
    script.write_bytes((ROOT / "deploy/make-secrets").read_bytes())
    subprocess.run(["sh", script, "postgresql://app:pw@db/crm"], check=True, capture_output=True)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert set(made) == set(COMPOSE["secrets"])
    assert made["crm_url"] == "postgresql://app:pw@db/crm"
    assert made["control_url"] == f"postgresql://retention:{made['postgres_password']}@postgres:5432/retention"
    assert made["broker_url"] == f"redis://:{made['redis_password']}@redis:6379/0"
    assert len({made[name] for name in ("postgres_password", "redis_password", "s3_secret_key")}) == 3
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    again = subprocess.run(["sh", script, "x"], check=False, capture_output=True, text=True)
    assert again.returncode == 1 and "nothing was changed" in again.stderr
    assert (tmp_path / "secrets/crm_url").read_text() == made["crm_url"]
    assert subprocess.run(["sh", script], check=False, capture_output=True).returncode == 2


def test_secrets_come_as_files(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://:p$w'd@redis/0\n")
    variables = set(SERVICES["worker"]["environment"]) | set(SERVICES["flower"]["environment"])
    files = sorted(name for name in variables if name.endswith("_FILE"))
    env = {"PATH": os.environ["PATH"], **dict.fromkeys(files, str(tmp_path / "url"))}
    told = subprocess.run(
        ["sh", ROOT / "deploy/entrypoint", "env"], env=env, check=True, capture_output=True, text=True
    )
    for name in files:
        assert f"{name.removesuffix('_FILE')}=redis://:p$w'd@redis/0" in told.stdout.splitlines(), name
    bare = subprocess.run(["sh", ROOT / "deploy/entrypoint", "true"], env={"PATH": os.environ["PATH"]}, check=False)
    assert bare.returncode == 0
    gone = {**env, files[0]: str(tmp_path / "gone")}
    assert subprocess.run(
        ["sh", ROOT / "deploy/entrypoint", "true"], env=gone, check=False, capture_output=True
    ).returncode


def test_the_image_is_not_root_and_copies_what_there_is() -> None:
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert users[0] == users[-1] == "10001:10001"
    base = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:3\.[0-9]+\.[0-9]+-slim-bookworm", base[0]) and base[1:] == ["retention"]
    assert len(re.findall(r"pip install --require-hashes", DOCKERFILE)) == 2
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    for sources in re.findall(r"^COPY (?:--\S+ )?(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
            assert f"!{source}" in allowed, source


def commands() -> list[list[str]]:
    found = [SERVICES[name]["command"] for name in OURS]
    for unit in UNITS:
        words = shlex.split(read_unit(unit)["Service"]["ExecStart"])
        found.append([Path(words[0]).name, *words[1:]])
    return found


def read_unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser


@pytest.mark.parametrize("words", [words for words in commands() if words[0] == "retention"], ids=" ".join)
def test_every_command_of_ours_exists(words: list[str]) -> None:
    command: click.Command = retention
    context = click.Context(command)
    rest = words[1:]
    while isinstance(command, click.Group):
        found = command.get_command(context, rest[0])
        assert found is not None, f"there is no {rest[0]}"
        command, rest = found, rest[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= known


@pytest.mark.parametrize("words", [words for words in commands() if words[0] != "retention"], ids=" ".join)
def test_other_commands_are_celery_with_our_application(words: list[str]) -> None:
    assert words[:3] == ["celery", "-A", "worker"]
    assert words[3] in ("worker", "beat", "flower")
    if words[3] == "flower":  # not installed with the program; its options are tornado's: --name=value
        assert all(re.fullmatch(r"--(address|port)=\S+", word) for word in words[4:])
        return
    from celery.bin.celery import celery

    options = {option for parameter in celery.commands[words[3]].params for option in parameter.opts}
    assert {word for word in words[4:] if word.startswith("--")} <= options


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_started_again_and_is_not_root(unit: Path) -> None:
    service = read_unit(unit)["Service"]
    assert (service["Restart"], service["User"]) == ("always", "retention")
    assert service["WorkingDirectory"] == "/opt/retention"
    assert service["NoNewPrivileges"] == "true"
    assert read_unit(unit)["Install"]["WantedBy"] == "multi-user.target"


def test_the_units_are_the_services() -> None:
    assert {unit.name for unit in UNITS} == {f"retention-{name}.service" for name in ("worker", "beat", "metrics")}
