"""Looks on a real Valkey or Redis: as many as are wanted, and no more; and an error within seconds where there is no broker."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest
import redis

from retention.errors import Failed
from retention.scheduling.app import SETTINGS, make_app, send_look, send_looks

if TYPE_CHECKING:
    from tests.integration.scheduling.conftest import Broker


def waiting(broker: Broker) -> int:
    with redis.Redis.from_url(broker.url) as client:
        return int(client.llen("retention:retention"))


def test_looks_do_not_pile_up_while_nobody_takes_them(broker: Broker) -> None:
    app = make_app(broker.url)
    for _ in range(3):
        send_looks(app, 4)
    assert waiting(broker) == 4
    send_looks(app, 2)
    assert waiting(broker) == 4


def test_a_worker_that_leaves_work_behind_is_followed_by_another_look(broker: Broker) -> None:
    """Whatever waits already: else fewer and fewer would look."""
    app = make_app(broker.url)
    send_looks(app, 1)
    send_look(app)
    assert waiting(broker) == 2


def test_a_broker_that_is_away_is_said_to_be_without_its_password(broker: Broker) -> None:
    broker.kill()
    began = time.monotonic()
    with pytest.raises(Failed, match="cannot be reached") as caught:
        send_look(make_app(f"redis://:secret@127.0.0.1:{broker.port}/0"))
    assert time.monotonic() - began < 10
    assert "secret" not in str(caught.value)


def test_a_broker_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=10) as silent:
        began = time.monotonic()
        with pytest.raises(Failed):
            send_looks(make_app(f"redis://127.0.0.1:{silent.getsockname()[1]}/0"), 1)
        assert time.monotonic() - began < 20


def test_the_settings_that_were_measured_are_those_in_use(broker: Broker) -> None:
    """Each of them was seen to matter; docs/scheduling.md says for what."""
    conf = make_app(broker.url).conf
    assert {name: conf[name] for name in SETTINGS} == SETTINGS
    assert conf.result_backend is None and conf.task_acks_late is False and conf.worker_disable_prefetch is True
    assert conf.broker_transport_options["socket_timeout"] == 5
