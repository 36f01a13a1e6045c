# The web app, for whoever has a server:
#
#   docker build -t sk-denoise .
#   docker run --rm -p 8501:8501 --memory 6g --pids-limit 512 --cap-drop ALL --security-opt no-new-privileges --read-only --volume /tmp sk-denoise
#
# Images lie in the volume, on disk: in a tmpfs they would count as memory.
# Limits are set with --env SK_DENOISE_APP_MEGAPIXELS=24 and so on; see docs/how_to/app.md.
# A tag may move to other bytes. A build for users names the digest: --build-arg BASE=python:3.12-slim@sha256:...
# (RELEASING.md tells how to find it).
ARG BASE=python:3.12-slim
FROM ${BASE}

# The versions that the project is tested with. PyTorch's index of CPU builds is named by --build-arg PIP_EXTRA_INDEX_URL,
# and --build-arg TORCH=torch==2.13.0+cpu then refuses the build with CUDA, which is gigabytes larger.
ARG PIP_EXTRA_INDEX_URL
ARG TORCH=torch==2.13.0
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY sk_denoise sk_denoise
RUN python -m pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt "${TORCH}" '.[app]' \
    && rm -rf /src

RUN useradd --create-home --uid 10001 denoiser
USER denoiser
WORKDIR /home/denoiser
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
ENTRYPOINT ["sk-denoise", "app", "--host", "0.0.0.0", "--port", "8501", "--no-browser"]
