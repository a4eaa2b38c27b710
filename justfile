# `just` lists what there is to do.
_default:
    @just --list --unsorted

# Everything that must hold before a change is merged; what CI runs.
check:
    .ci/run

# Quick: does it compile, without a warning?
lint:
    cargo clippy --all-targets --locked -- -D warnings

# The tests.
test *args:
    cargo test --locked {{args}}

# So many seeds of the simulated world (docs/simulation.md), from a given one on.
simulate seeds="2000" from="0":
    CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=0 cargo test --locked --test sim -- --seeds {{from}}..$(({{from}} + {{seeds}}))

# Take new snapshots over after looking at them (needs cargo-insta).
snapshots:
    cargo insta review

# What it does, on this machine, without a cluster.
demo:
    cargo run --release --locked -- demo

# The container image.
image tag="kubeherald:0.1.0":
    docker build -t {{tag}} .

# Apply to the cluster of the current context.
deploy:
    kubectl apply -k deploy/

# Licences, bans, advisories and sources of all dependencies (needs cargo-deny).
deny:
    cargo deny check
