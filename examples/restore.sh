#!/bin/sh
# A restore as a Job of the chart: waits for its end, prints its log, and ends with 0 only when all was restored.
#
#   NAMESPACE=default examples/restore.sh EXAMPLE WHAT [OPTION OF helm template]...
#
# WHAT is one of EXAMPLE/kubernetes/restore-WHAT.yaml. Another snapshot than the newest:
#   --set-json 'restore.args=["latest:SOURCE@2026-01-15T12:00:00Z", "--to", "...", "--drop-existing"]'
# Without the KMS, with the recovery key in a Secret:
#   --set repository.keyFile.secret=recovery
set -eu
here=$(dirname "$0")
example=$1 what=$2
shift 2
values=$here/$example/kubernetes
job=$(helm template backup "$here/../deploy/helm/strongroom" --namespace "$NAMESPACE" --kube-version 1.30.0 \
  --values "$values/values.yaml" --set-file "config=$here/$example/strongroom.toml" \
  --values "$values/restore-$what.yaml" --set-string "restore.name=$(date +%s)" "$@" \
  --show-only templates/restore.yaml | kubectl create -n "$NAMESPACE" -o name -f -)
echo "$job" >&2
# Either end: who waits for `complete` alone waits for ever when it failed.
while :; do
  conditions=$(kubectl get -n "$NAMESPACE" "$job" -o 'jsonpath={.status.conditions[*].type}')
  case " $conditions " in *" Complete "* | *" Failed "*) break ;; esac
  sleep "${POLL_SECONDS:-5}"
done
kubectl logs -n "$NAMESPACE" "$job"
kubectl wait -n "$NAMESPACE" --for=condition=complete --timeout=0 "$job"
