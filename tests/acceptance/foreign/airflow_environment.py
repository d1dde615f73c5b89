"""Which database Airflow is to use, told by its environment variables."""

from __future__ import annotations

import os

_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg2", "mysql": "mysql+mysqldb"}


def use(home: str, url: str) -> None:
    """Before anything of Airflow is imported."""
    scheme, _, rest = url.partition(":")
    os.environ |= {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"{_DRIVERS[scheme]}:{rest}",
    }
