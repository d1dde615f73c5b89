"""Alert rules, dashboard and list of metrics say the same, and the rules do what they say (promtool)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers.absent import absent

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
RULES: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"][0]["rules"]
TESTS = (DEPLOY / "alerts.test.yml").read_text()
METRICS = set(re.findall(r"^\| `(retention_\w+)", (DEPLOY / "metrics.md").read_text(), re.MULTILINE))
#: PromQL asked of it -> what it is about
EXPRESSIONS = {rule["alert"]: rule["expr"] for rule in RULES}


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    """Prometheus's own tool."""
    found = shutil.which("promtool") or absent("promtool", "prometheus")
    return subprocess.run([found, *words], cwd=DEPLOY, capture_output=True, text=True, check=False)


def test_the_rules_fire_when_they_must_and_are_silent_otherwise() -> None:
    told = promtool("test", "rules", "alerts.test.yml")
    assert told.returncode == 0, told.stdout + told.stderr


def test_what_prometheus_reads_is_what_it_can_read() -> None:
    told = promtool("check", "config", "prometheus.yml")
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize(("alert", "before", "after"), [
    ("RetentionLate", "> 3600", "> 360000"), ("RetentionInDoubt", "> 0", "> 5"), ("RetentionLedgerBroken", "== 0", "== 2"),
])  # fmt: skip
def test_the_rules_own_tests_find_a_broken_rule(tmp_path: Path, alert: str, before: str, after: str) -> None:
    text = (DEPLOY / "alerts.yml").read_text()
    at = text.index(f"alert: {alert}")
    (tmp_path / "alerts.yml").write_text(text[:at] + text[at:].replace(before, after, 1))
    # the first test and those after it are about other things, and slow: the last one is about every kind
    last = TESTS.rindex("  - name:")
    (tmp_path / "alerts.test.yml").write_text(TESTS[: TESTS.index("  - name:")] + TESTS[last:])
    assert promtool("test", "rules", str(tmp_path / "alerts.test.yml")).returncode == 1


def test_every_alert_fires_in_some_test() -> None:
    for alert in EXPRESSIONS:
        assert f'{{alertname="{alert}"}}' in TESTS, alert


def test_alerts_and_dashboard_ask_for_metrics_that_there_are() -> None:
    dashboard = json.loads((DEPLOY / "grafana/dashboards/retention.json").read_text())
    asked = {f"panel {panel['title']}": target["expr"] for panel in dashboard["panels"] for target in panel["targets"]}
    for name, expression in {**EXPRESSIONS, **asked}.items():
        assert set(re.findall(r"retention_\w+", expression)) <= METRICS, name
    used = set(re.findall(r"retention_\w+", " ".join([*EXPRESSIONS.values(), *asked.values()])))
    assert METRICS - used == set(), "what nobody looks at need not be served"


def test_every_alert_says_what_to_do_and_the_guide_explains_it() -> None:
    guide = (ROOT / "docs/operations.md").read_text()
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"] and rule["annotations"]["action"]
        assert f"`{rule['alert']}`" in guide, rule["alert"]
    named = set(re.findall(r"`(Retention[A-Z]\w+)`", guide))
    assert named <= set(EXPRESSIONS)


def test_grafana_finds_dashboard_and_data() -> None:
    dashboard = json.loads((DEPLOY / "grafana/dashboards/retention.json").read_text())
    [source] = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["uid"]}
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert source["url"] == "http://prometheus:9090"
    [provider] = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/retention.yml").read_text())["providers"]
    mounts = dict(reversed(volume.removesuffix(":ro").split(":", 1)) for volume in compose["grafana"]["volumes"])
    assert mounts[provider["options"]["path"]] == "./deploy/grafana/dashboards"
    spots = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
    assert len(set(spots)) == len(spots)
    [job] = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    [target] = job["static_configs"][0]["targets"]
    assert target.split(":")[0] == "metrics" and target.split(":")[1] in compose["metrics"]["command"]
