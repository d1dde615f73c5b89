"""The commands of docker-compose.yml, started as plain processes with the same environment: secrets in files."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from tests.integration.scheduling.conftest import Broker, Site

ROOT = Path(__file__).parents[3]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]


def test_migrate_worker_beat_and_metrics(
    make_site: Callable[..., Site], postgres_url: str, broker: Broker, tmp_path: Path
) -> None:
    """What the image's entry point makes of the secrets is what the program reads; the health checks tell the living."""
    site = make_site(postgres_url, broker=broker.url)
    text = site.config.read_text()
    site.config.write_text(
        text.replace(site.control_url, "${RETENTION_CONTROL_URL}").replace(broker.url, "${RETENTION_BROKER_URL}")
        .replace(postgres_url, "${CRM_URL}")
    )  # fmt: skip
    secrets = {"control_url": site.control_url, "broker_url": broker.url, "crm_url": postgres_url}
    for name in SERVICES["worker"]["secrets"]:
        (tmp_path / name).write_text(secrets.get(name, "unused"))
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RETENTION", "AWS"))}
    for name, value in SERVICES["worker"]["environment"].items():
        env[name] = value.replace("/run/secrets", str(tmp_path))
    env |= {
        "RETENTION_CONFIG": str(site.config),
        "PATH": f"{Path(sys.executable).parent}:{ROOT / 'deploy'}:{os.environ['PATH']}",
    }

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    here = {
        "${RETENTION_CONCURRENCY:-2}": "1", "/project": str(site.folder), "0.0.0.0": "127.0.0.1", "9464": port,
    }  # fmt: skip

    def words(command: list[str]) -> list[str]:
        for there, instead in here.items():
            command = [str(word).replace(there, instead) for word in command]
        return command

    def healthy(name: str) -> bool:
        _, *check = words(SERVICES[name]["healthcheck"]["test"])
        return subprocess.run(check, env=env, cwd=ROOT, capture_output=True, check=False).returncode == 0

    migrated = subprocess.run(
        ["entrypoint", *words(SERVICES["migrate"]["command"])],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert migrated.returncode == 0, migrated.stderr
    for name in ("worker", "beat", "metrics"):
        assert not healthy(name)
        with (site.folder / f"{name}.log").open("ab") as log:
            site.started.append(
                subprocess.Popen(
                    ["entrypoint", *words(SERVICES[name]["command"])],
                    env=env,
                    cwd=ROOT,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
    for name in ("worker", "beat", "metrics"):
        site.wait(lambda name=name: healthy(name), f"{name} is not healthy")  # type: ignore[misc]
    for process in site.started:
        process.terminate()
        assert process.wait(timeout=60) == 0
    assert "Traceback" not in site.log("worker") + site.log("beat")
