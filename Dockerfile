ARG PYTHON_VERSION=3.10
FROM python:${PYTHON_VERSION}-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

# DL3008: Debian's mirrors delete a version when the next one comes, so a pinned version would break the build.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql-client \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home app

WORKDIR /app

# Wheels only: a package without one stops the build here, because the image has no compiler.
COPY requirements.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --only-binary=:all: \
    -r requirements.txt

# Root owns the code: the service can read it, but not change it. COPY keeps the modes of the checkout; after a
# umask of 077 only the owner could read it, so chmod follows.
COPY *.py schema.sql openapi.yaml ./
COPY auth auth
COPY ops ops
COPY runtime runtime
RUN chmod -R go=rX .

# By number, so that an orchestrator can see that it is not root.
USER 10001

EXPOSE 8080

# Docker makes the first check after one interval. Builders before Docker 25 refuse --start-interval.
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["python", "ops/healthcheck.py"]

# gunicorn reads gunicorn.conf.py by itself. In the exec form gunicorn is process 1, which gets the stop signal.
CMD ["gunicorn"]
