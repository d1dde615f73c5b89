"""Make and fill django-helpdesk's database by its own models: `fill_helpdesk.py FOLDER URL`, in an environment with it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import django
from django.conf import settings

parts = urlsplit(sys.argv[2])
engine = {"sqlite": "sqlite3", "postgresql": "postgresql", "mysql": "mysql"}[parts.scheme]
if engine == "mysql":
    import pymysql

    pymysql.install_as_MySQLdb()
settings.configure(
    SECRET_KEY="test",
    USE_TZ=True,
    TIME_ZONE="UTC",
    SITE_ID=1,
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    ROOT_URLCONF="helpdesk.urls",
    HELPDESK_TEAMS_MODE_ENABLED=False,
    MEDIA_ROOT="/nonexistent",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.sites",
        "django.contrib.messages",
        "django.contrib.admin",
        "django.contrib.humanize",
        "rest_framework",
        "helpdesk",
    ],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    DATABASES={
        "default": {
            "ENGINE": f"django.db.backends.{engine}",
            "NAME": parts.path[1:],
            "HOST": parts.hostname or parse_qs(parts.query).get("host", [""])[0],
            "PORT": parts.port or "",
            "USER": unquote(parts.username or ""),
        }
    },
)
django.setup()

from django.contrib.auth import get_user_model
from django.core.management import call_command
from helpdesk.models import FollowUp, FollowUpAttachment, Queue, Ticket, TicketCC, TicketChange, TicketDependency

call_command("migrate", verbosity=0)
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
user = get_user_model().objects.create(username="ann")
queue = Queue.objects.create(title="Support", slug="support")
before = None
for number in range(200):
    created = NOW - timedelta(days=3 * number)
    ticket = Ticket.objects.create(
        title=f"Ticket {number} ü", queue=queue, status=4, created=created, description="It broke."
    )
    follow = FollowUp.objects.create(
        ticket=ticket, date=created, title="Closed", comment="x", public=True, user=user, new_status=4
    )
    TicketChange.objects.create(followup=follow, field="status", old_value="1", new_value="4")
    FollowUpAttachment.objects.create(followup=follow, file="a.txt", filename="a.txt", mime_type="text/plain", size=1)
    TicketCC.objects.create(ticket=ticket, email="a@example.com")
    if before is not None and number % 10 == 0:
        TicketDependency.objects.create(ticket=ticket, depends_on=before)
    before = ticket
    # saving anything of a ticket moves its clocks: they are set last
    Ticket.objects.filter(pk=ticket.pk).update(created=created, modified=created + timedelta(days=1))
