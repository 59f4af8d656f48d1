#!/usr/bin/env bash
# Runs the end-to-end suite on kind: builds the images, loads them, points the suite at the cluster's kubeconfig.
set -eu
cd "$(dirname "$0")/.."
for need in docker kind; do
  command -v "$need" > /dev/null || { echo "make e2e-kind needs $need on the PATH"; exit 2; }
done
make --no-print-directory images
kind get clusters | grep -qx tierline-e2e || kind create cluster --config e2e/kind.yaml --wait 120s
for part in operator gateway worker; do
  kind load docker-image --name tierline-e2e "ghcr.io/tierline/$part:0.1.0"
done
mkdir -p out
kind get kubeconfig --name tierline-e2e > out/kind.kubeconfig
TIERLINE_E2E_KUBECONFIG=$PWD/out/kind.kubeconfig .venv/bin/python -m pytest e2e -q
