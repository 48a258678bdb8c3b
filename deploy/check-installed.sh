#!/bin/sh
# Checks the files of this folder with programs that not every machine has, and says which are missing. Those
# that pip installs are called by `make check-deploy` itself.
set -eu

cd "$(dirname "$0")"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

have() { # have PROGRAM WHAT-IS-NOT-CHECKED-WITHOUT
    command -v "$1" >/dev/null 2>&1 && return
    echo "not checked, for want of $1: $2"
    return 1
}

if have systemd-analyze "the systemd units"; then
    # It wants the programs to be there; they are once facenorm is installed.
    for unit in systemd/*.service; do
        sed 's|/opt/facenorm/bin/facenorm|/bin/true|' "$unit" >"$work/$(basename "$unit")"
    done
    # A key that it does not know it only mentions.
    systemd-analyze verify --man=no "$work"/*.service 2>"$work/said" || { cat "$work/said" && exit 1; }
    if grep -F "$work" "$work/said"; then exit 1; fi
    # From 0, shut off, to 10, anything goes, times ten.
    if systemd-analyze security --help | grep -q -- --offline; then
        for unit in "$work"/*.service; do
            systemd-analyze security --no-pager --offline=true --threshold=20 "$unit" >"$work/exposure" || {
                cat "$work/exposure"
                exit 1
            }
        done
    fi
fi

# `config` asks no daemon. The values are for what env.example lists.
if docker compose version >/dev/null 2>&1; then
    for more in "" "--file=compose/compose.gpu.yaml"; do
        # shellcheck disable=SC2086 -- none, or one word
        env FACENORM_DATABASE_PASSWORD=checked FACENORM_STATUS_TOKEN=checked ORTHANC_PASSWORD=checked \
            GRAFANA_PASSWORD=checked docker compose --file=compose/compose.yaml $more config --quiet
    done
else
    echo "not checked, for want of docker compose: that the compose files can be put together"
fi

if have promtool "the Prometheus configuration, and the alerts' tests"; then
    promtool check config --syntax-only prometheus/prometheus.yml
    promtool check rules prometheus/facenorm.rules.yml
    promtool test rules prometheus/facenorm.rules.test.yml
fi

if have kubectl "that the kustomization can be put together"; then
    kubectl kustomize kubernetes >"$work/kustomized.yaml"
fi
