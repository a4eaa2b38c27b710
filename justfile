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

# Licences, bans, sources and the known advisories of all dependencies, without a network (needs cargo-deny).
deny:
    python3 .ci/advisories.py unpack target/advisories
    cargo deny --locked --offline check

# Take over the advisories of a clone of https://github.com/rustsec/advisory-db.
advisories clone:
    python3 .ci/advisories.py snapshot {{clone}}

# A CycloneDX bill of materials of what is linked into the image: target/kubeherald.cdx.json (needs
# cargo-cyclonedx 0.5).
sbom:
    cargo cyclonedx --format json --spec-version 1.5 --no-build-deps --target x86_64-unknown-linux-gnu --override-filename kubeherald.cdx
    mv kubeherald.cdx.json target/
