# One image, two stages: the first has the build tools, the second only what runs.
# Pin the base by digest in your own builds: --build-arg PYTHON_IMAGE=python@sha256:...
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY deploy/build.lock deploy/requirements.lock deploy/
RUN python3 -m venv tools \
 && tools/bin/pip install --require-hashes --no-deps --only-binary :all: -r deploy/build.lock \
 && python3 -m venv /opt/syncd \
 && /opt/syncd/bin/pip install --require-hashes --no-deps --only-binary :all: -r deploy/requirements.lock
# Each path is named, so that nothing else of a working folder can enter the image.
COPY pyproject.toml README.md ./
COPY syncd/ syncd/
COPY config/ config/
RUN tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
 && /opt/syncd/bin/pip install --no-deps --no-index wheels/*.whl \
 && /opt/syncd/bin/pip check \
 && /opt/syncd/bin/syncd check -c config/syncd.yaml \
 && /opt/syncd/bin/pip uninstall --yes pip \
 && /opt/syncd/bin/python3 -m compileall -q -f --invalidation-mode unchecked-hash /opt/syncd/lib

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 syncd \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data \
    --shell /usr/sbin/nologin syncd \
 && install -d -o 10001 -g 10001 -m 0700 /data
# All bytecode is in the image, and no file's date can make it invalid: at run time only
# /data is written, so that each command, also every healthcheck, would compile anew what
# it loads. The base image has none of the standard library: without these 10 MB a command
# takes 0.2 to 0.5 s of CPU more.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash \
    -x '/(site-packages|test|idlelib|lib2to3|ensurepip|tkinter|turtledemo|pydoc_data)/' \
    "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
# SQLite's own temporary files go to /data too: writing the store anew takes as much room
# as the store, and /tmp may be a little memory.
COPY --from=build /opt/syncd /opt/syncd
ENV PATH=/opt/syncd/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SQLITE_TMPDIR=/data
# The default store, sqlite:///data/syncd.db, is relative: from here it is in the volume.
WORKDIR /
USER 10001:10001
RUN ["syncd", "--version"]
VOLUME /data
# What senders reach (web.inbound); open only where a connection is pushed to. The admin
# port (8081: page, health, metrics) listens inside the container alone, unless told
# otherwise.
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --start-period=20s --interval=30s --timeout=5s --retries=3 \
  CMD ["syncd", "healthcheck"]
# No init: syncd waits for its signals itself and starts no children that outlive their
# call (shown by deploy/image-check). Exec form, so that SIGTERM reaches it, not a shell.
ENTRYPOINT ["syncd"]
CMD ["serve"]
# Last, so that another revision costs no layer.
ARG VERSION=unknown
ARG REVISION=unknown
# What `syncd_build_info` says of it.
ENV SYNCD_REVISION="${REVISION}"
LABEL org.opencontainers.image.title="syncd" \
      org.opencontainers.image.description="Keeps Twilio Engage audiences and Amplitude cohorts equal" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
