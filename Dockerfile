# The image of every service of docker-compose.yml that runs this program.
#   retention  the command line, worker, beat, metrics
#   flower     the same with Flower, which looks at the workers through the broker
FROM python:3.11.14-slim-bookworm AS retention

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# the same versions and hashes as everywhere else
COPY requirements.lock /tmp/requirements.lock
RUN pip install --require-hashes -r /tmp/requirements.lock && rm /tmp/requirements.lock

COPY pyproject.toml README.md /src/
COPY retention /src/retention
COPY policies /src/policies
RUN pip install --no-deps /src && rm -r /src

COPY worker.py beat_schedule.py /app/
COPY --chmod=755 deploy/entrypoint deploy/alive /usr/local/bin/

# a number, so that orchestrators can see that it is not root
RUN groupadd --gid 10001 retention && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin retention
USER 10001:10001
WORKDIR /app
ENV RETENTION_CONFIG=/project/retention.yaml
ENTRYPOINT ["entrypoint"]
CMD ["retention", "--help"]

FROM retention AS flower
USER 0:0
COPY deploy/flower.lock /tmp/flower.lock
RUN pip install --require-hashes --no-deps -r /tmp/flower.lock && rm /tmp/flower.lock
USER 10001:10001
