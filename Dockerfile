# A node:       docker build -t ringmesh .        docker run --network host -v node:/var/lib/ringmesh ringmesh
# The testbed:  docker compose build              (docs/testbed.md)
#
# Another base image with Python 3.11 or 3.12 and Debian's packages, another package index:
#   docker build --build-arg BASE_IMAGE=… --build-arg PIP_INDEX_URL=… .
ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS build
# Arguments are in the environment of RUN, where pip reads them.
ARG PIP_INDEX_URL=https://pypi.org/simple
ARG PIP_EXTRA_INDEX_URL=
ARG PIP_TRUSTED_HOST=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY dht ./dht
COPY federation ./federation
COPY media_relay ./media_relay
COPY node ./node
RUN python3 -m venv /opt/ringmesh
RUN /opt/ringmesh/bin/pip install .

# What runs for people: no compiler, no pip cache, no root.
FROM ${BASE_IMAGE} AS node
RUN useradd --system --uid 10001 --user-group --create-home --home-dir /var/lib/ringmesh ringmesh \
    && chmod 700 /var/lib/ringmesh
COPY --from=build /opt/ringmesh /opt/ringmesh
ENV PATH=/opt/ringmesh/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RINGMESH_STATE=/var/lib/ringmesh \
    RINGMESH_LOG_FORMAT=json
WORKDIR /var/lib/ringmesh
USER ringmesh
VOLUME /var/lib/ringmesh
EXPOSE 5060/udp 5060/tcp 5061/tcp 7060/udp 3478/udp 3478/tcp 5349/tcp 10000-19999/udp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ringmesh status --json | grep -q '"ready": *true'
CMD ["ringmesh", "up"]

# What the testbed adds: phones that measure, gateways, Kamailio.
FROM build AS build-testbed
RUN /opt/ringmesh/bin/pip install '.[phone]'

FROM node AS testbed
USER root
RUN apt-get update \
    && apt-get install -y --no-install-recommends iproute2 kamailio nftables \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o ringmesh -g ringmesh /run/testbed
COPY --from=build-testbed /opt/ringmesh /opt/ringmesh
COPY testbed /opt/testbed/testbed
WORKDIR /opt/testbed
VOLUME /run/testbed
USER ringmesh
CMD ["python", "-m", "testbed.check", "--folder", "/run/testbed"]

# Without --target a node is built.
FROM node
