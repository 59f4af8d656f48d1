# The image of Tierline's worker. Build from the repository's root.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY core core
COPY operator operator
COPY gateway gateway
COPY worker worker
COPY devcluster devcluster
COPY cli cli
RUN python -m venv /opt/tierline \
 && /opt/tierline/bin/pip install --no-cache-dir --constraint constraints.txt '.[worker]'

FROM python:3.11-slim-bookworm
COPY --from=build /opt/tierline /opt/tierline
ENV PATH=/opt/tierline/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 TZ=UTC TIERLINE_CACHE_DIR=/var/cache/tierline
RUN useradd --uid 65532 --no-create-home tierline && install -d -o 65532 -g 65532 /var/cache/tierline
USER 65532
# Kernels are compiled here, so that no pod's start waits for it.
RUN python -m tierline_worker.precompile
CMD ["tierline-worker"]
