#!/usr/bin/env bash
# Runs the end-to-end suite on kind: builds the images, adds the suite's models, loads them, points the suite at the cluster.
set -eu
cd "$(dirname "$0")/.."
for need in docker kind; do
  command -v "$need" > /dev/null || { echo "make e2e-kind needs $need on the PATH"; exit 2; }
done
make --no-print-directory images
kind get clusters | grep -qx tierline-e2e || kind create cluster --config e2e/kind.yaml --wait 120s

build=out/e2e-kind
rm -rf "$build" && mkdir -p "$build"
.venv/bin/python e2e/support/e2e_models.py "$build/models"
docker tag ghcr.io/tierline/operator:0.1.0 tierline-e2e/operator:1
for part in gateway worker; do
  printf 'FROM ghcr.io/tierline/%s:0.1.0\nCOPY models /models\n' "$part" | docker build -t "tierline-e2e/$part:1" -f - "$build"
done
for part in operator gateway worker; do kind load docker-image --name tierline-e2e "tierline-e2e/$part:1"; done
printf '%s: {image: "tierline-e2e/%s:1"}\n' operator operator gateway gateway worker worker > "$build/values.yaml"

kind get kubeconfig --name tierline-e2e > "$build/kubeconfig"
export TIERLINE_E2E_KUBECONFIG=$PWD/$build/kubeconfig TIERLINE_E2E_VALUES=$PWD/$build/values.yaml TIERLINE_E2E_MODELS=/models
.venv/bin/python -m pytest e2e -q
