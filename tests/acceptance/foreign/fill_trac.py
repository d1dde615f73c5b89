"""Make and fill Trac's database by its own models: `fill_trac.py FOLDER URL`, in an environment with Trac."""

from __future__ import annotations

import io
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from trac.admin.console import TracAdmin
from trac.attachment import Attachment
from trac.env import open_environment
from trac.ticket.model import Ticket
from trac.wiki.model import WikiPage

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
folder, url = sys.argv[1], sys.argv[2]
scheme, _, rest = url.partition(":")
if scheme == "sqlite":  # its own form, for an absolute path of a file that it makes
    path = Path(rest.removeprefix("///"))
    path.unlink()
    url = f"sqlite:{path}"
elif scheme == "postgresql":
    url = f"postgres:{rest}"
else:  # it asks for a database whose text compares by its bytes
    import pymysql

    parts = urlsplit(url)
    connection = pymysql.connect(host=parts.hostname, port=parts.port, user=parts.username, database=parts.path[1:])
    with connection, connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {parts.path[1:]} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
TracAdmin(folder).do_initenv(f"Demo {url}")
environment = open_environment(folder)
for number in range(200):
    created = NOW - timedelta(days=3 * number, microseconds=number)
    ticket = Ticket(environment)
    ticket.populate(
        {
            "summary": f"Ticket {number} ü",
            "description": "It broke.\n'); --",
            "reporter": "ann",
            "status": "new",
            "type": "defect",
            "keywords": "crash, temporary" if number % 2 else "sales",
        }
    )
    ticket.insert(when=created)
    ticket["status"] = "closed"
    ticket["resolution"] = "fixed"
    ticket.save_changes("bob", "Mended.", when=created + timedelta(days=1))
    if number % 3 == 0:
        attachment = Attachment(environment, "ticket", ticket.id)
        attachment.author = "ann"
        attachment.insert("log.txt", io.BytesIO(b"x"), 1, t=created)
page = WikiPage(environment, "1")
page.text = "A page that is named like a ticket."
page.save("ann", "", t=NOW - timedelta(days=3000))
attachment = Attachment(environment, "wiki", "1")
attachment.author = "ann"
attachment.insert("plan.txt", io.BytesIO(b"y"), 1, t=NOW - timedelta(days=3000))
