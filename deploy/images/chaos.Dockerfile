# The agent of the profile `chaos`: tests/chaos, the Python SDK and what they need from PyPI; no code of ours that is compiled.
# A file of its own, so that the suite can change and no service's image is of other sources for it, and so that a builder
# which goes through all stages before the wanted one (Docker's old one) compiles nothing.
#
#     docker build -f deploy/images/chaos.Dockerfile .
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS packages
RUN apt-get update -q && apt-get install -y -q --no-install-recommends python3 python3-venv && rm -rf /var/lib/apt/lists/*
COPY tools/setup/requirements.txt /setup/requirements.txt
RUN python3 -m venv /venv && grep -E '^(numpy|pyzmq|pycapnp|tritonclient)' /setup/requirements.txt > /setup/chaos.txt \
    && /venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --progress-bar off -r /setup/chaos.txt \
    && /venv/bin/python -m pip uninstall -y -q pip setuptools

FROM ${BASE} AS chaos
RUN apt-get update -q && apt-get install -y -q --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*
COPY --from=packages /venv /venv
COPY schemas /shoal/schemas
COPY sdk/python /shoal/sdk/python
COPY tests/chaos /shoal/tests/chaos
ENV PYTHONPATH=/shoal/tests:/shoal/sdk/python PYTHONUNBUFFERED=1
RUN /venv/bin/python -m compileall -q /shoal && mkdir /report
# Root, without a capability: the engine's socket belongs to root.
ENTRYPOINT ["/venv/bin/python", "-m", "chaos.attach", "--report", "/report"]
