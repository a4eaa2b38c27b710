# docker build -t kubeherald:0.1.0 .
FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY rules rules
COPY templates templates
COPY deploy deploy
# Cargo wants every target and every path of the manifest to be there.
COPY tests/it/main.rs tests/it/main.rs
COPY tests/sim/main.rs tests/sim/main.rs
COPY tests/simdisk tests/simdisk
COPY benches benches
# Without the demo, which brings a simulated cluster and receivers.
RUN cargo build --profile dist --no-default-features --locked --bin kubeherald

# glibc, libgcc and the CA certificates, which TLS to Slack, webhooks and mail servers is verified with;
# no shell and no package manager. To trust a company's own CA, mount its certificates over
# /etc/ssl/certs/ca-certificates.crt, or name them with SSL_CERT_FILE.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="kubeherald" \
      org.opencontainers.image.description="A Kubernetes alerting notifier: one problem is one message" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
COPY --from=build /src/target/dist/kubeherald /usr/local/bin/kubeherald
COPY LICENSE /usr/share/doc/kubeherald/LICENSE
USER 65532:65532
EXPOSE 8080
ENV MALLOC_ARENA_MAX=2
ENTRYPOINT ["/usr/local/bin/kubeherald"]
CMD ["run"]
