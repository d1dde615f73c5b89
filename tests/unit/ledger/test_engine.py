from __future__ import annotations

import pytest
import sqlalchemy as sa

from retention.errors import ControlFailed
from retention.ledger.engine import control_url, translated


@pytest.mark.parametrize("spelled", ["p@ss/wörd+", "p%40ss%2Fw%C3%B6rd%2B"])
def test_a_driver_that_repeats_the_password_is_not_quoted_with_it(spelled: str) -> None:
    url = control_url("postgresql://user:p%40ss%2Fw%C3%B6rd%2B@host/db")
    said = Exception(f"no route to user:{spelled}@host")
    with pytest.raises(ControlFailed) as caught, translated(url):
        raise sa.exc.OperationalError("SELECT 1", {"secret": 1}, said)
    assert caught.value.message == "the control database host/db refused: no route to user:***@host"
