#!/usr/bin/env bash
# What the bot takes of a machine: resident memory, and CPU time beside `curl` reading the same watches.
#
#   benches/light.sh                       against a simulated cluster, at 0, 250 and 1,000 updates a second
#   benches/light.sh KUBECONTEXT [SECONDS] against a real one, as it is
#
# Needs curl, and kubectl for a real cluster. Prints; asserts nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
context=${1:-} seconds=${2:-60} port=${PORT:-18181}
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$dir"' EXIT

bot=${KUBEHERALD:-}
if [ -z "$bot" ]; then
    cargo build --release --locked --quiet
    bot=target/release/kubeherald
fi

# CPU time of a process and its threads, in milliseconds.
cpu() { awk '{ print ($14 + $15) * 1000 / '"$(getconf CLK_TCK)"' }' "/proc/$1/stat"; }
memory() { awk '/^(VmRSS|RssAnon|VmHWM):/ { printf "%s %.1f MiB  ", $1, $2 / 1024 }' "/proc/$1/status"; }

resources="api/v1/pods api/v1/nodes api/v1/events api/v1/namespaces api/v1/persistentvolumeclaims
 apis/apps/v1/deployments apis/apps/v1/replicasets apis/apps/v1/statefulsets apis/apps/v1/daemonsets
 apis/batch/v1/jobs apis/batch/v1/cronjobs"

measure() { # NAME URL
    mkdir -p "$dir/store"
    HOME=$dir RUST_LOG=warn "$bot" run --config "$dir/kubeherald.yaml" >"$dir/bot.log" 2>&1 &
    local bot_pid=$! urls=() resource
    for resource in $resources; do
        urls+=(--output /dev/null "$2/$resource?watch=true&sendInitialEvents=false&resourceVersion=0&allowWatchBookmarks=true")
    done
    curl --silent --no-progress-meter --no-buffer --parallel --parallel-max 16 "${urls[@]}" &
    local curl_pid=$!
    sleep 20 # the lists, and the first looks
    local bot_before curl_before
    bot_before=$(cpu $bot_pid) curl_before=$(cpu $curl_pid)
    sleep "$seconds"
    printf '%-24s bot %6.0f ms, curl %6.0f ms in %s s;  %s\n' "$1" \
        "$(echo "$(cpu $bot_pid) - $bot_before" | bc)" "$(echo "$(cpu $curl_pid) - $curl_before" | bc)" "$seconds" "$(memory $bot_pid)"
    kill $bot_pid $curl_pid
    wait $bot_pid $curl_pid 2>/dev/null || true
    rm -rf "$dir/store"
}

cat >"$dir/kubeherald.yaml" <<EOF
cluster: bench
store: {path: $dir/store/kubeherald.db}
receivers:
  hook: {webhook: {url: "http://127.0.0.1:9/"}}
routes:
  - receivers: [hook]
EOF

if [ -n "$context" ]; then
    kubectl --context "$context" proxy --port "$port" >/dev/null &
    sleep 2
fi
cat >"$dir/kubeconfig" <<EOF
apiVersion: v1
kind: Config
current-context: bench
contexts: [{name: bench, context: {cluster: bench, user: bench}}]
clusters: [{name: bench, cluster: {server: "http://127.0.0.1:$port"}}]
users: [{name: bench, user: {}}]
EOF
export KUBECONFIG=$dir/kubeconfig

if [ -n "$context" ]; then
    measure "$context" "http://127.0.0.1:$port"
else
    cargo build --release --locked --quiet --example cluster
    for load in "1 0" "20 250" "20 1000"; do
        # shellcheck disable=SC2086 # two arguments
        target/release/examples/cluster "$port" $load >"$dir/cluster.log" 2>&1 &
        server=$!
        until curl --silent --fail --output /dev/null "http://127.0.0.1:$port/version"; do sleep 1; done
        measure "${load#* } updates/s" "http://127.0.0.1:$port"
        kill $server
        wait $server 2>/dev/null || true
    done
fi
