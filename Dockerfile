# `sise-rt serve` as an image: docs/deployment.md tells how it is built and run.
#
# The file system may be read-only: nothing is ever written. Models are mounted, or named as arguments.

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
# cpu, or gpu for CUDA 13, whose libraries then come as packages beside ONNX Runtime's.
ARG RUNTIME=cpu
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE cli.py ./
COPY export export
COPY sise_rt sise_rt
RUN python3 -m venv /opt/sise-rt
RUN /opt/sise-rt/bin/pip install --no-cache-dir -c constraints.txt ".[${RUNTIME},serve]"
RUN if [ "${RUNTIME}" = gpu ]; then /opt/sise-rt/bin/pip install --no-cache-dir 'onnxruntime-gpu[cuda,cudnn]==1.31.1'; fi

FROM python:${PYTHON}-slim
COPY --from=build /opt/sise-rt /opt/sise-rt
ENV PATH=/opt/sise-rt/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ORT_DISABLE_TELEMETRY=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/v2/health/ready', timeout=2)"]
ENTRYPOINT ["sise-rt", "serve", "--host", "0.0.0.0"]
