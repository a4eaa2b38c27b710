//! The `kubeherald` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    kubeherald::cli::main()
}
