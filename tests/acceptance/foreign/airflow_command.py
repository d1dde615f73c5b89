"""Airflow's own command on a database: `airflow_command.py FOLDER URL WORDS...`, in an environment with Airflow."""

from __future__ import annotations

import subprocess
import sys

from airflow_environment import use

use(sys.argv[1], sys.argv[2])
sys.exit(subprocess.run([sys.executable, "-m", "airflow", *sys.argv[3:]]).returncode)
