//! `kubeherald rbac`

use anyhow::anyhow;
use clap::Args;

use super::{ConfigArgs, Failure, output, print};
use crate::app::rbac::{Reach, Subject, manifests};

/// See `kubeherald rbac`.
#[derive(Debug, Args)]
pub struct RbacArgs {
    #[command(flatten)]
    from: ConfigArgs,
    /// A Role and a RoleBinding in each of these namespaces (separated by commas), in the place of a ClusterRole;
    /// without names: in those of `watch.namespaces.include`.
    #[arg(long, value_name = "NAMESPACES", num_args = 0.., value_delimiter = ',', value_parser = namespace)]
    namespaced: Option<Vec<String>>,
    /// The service account that the bot runs as.
    #[arg(long, value_name = "NAMESPACE:NAME", default_value = "kubeherald:kubeherald", value_parser = Subject::service_account)]
    serviceaccount: Subject,
    /// A user in the place of a service account.
    #[arg(long, value_name = "NAME", conflicts_with = "serviceaccount")]
    user: Option<String>,
}

fn namespace(text: &str) -> Result<String, String> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let valid = !text.is_empty() && text.len() <= 63 && text.bytes().all(good);
    if valid { Ok(text.to_owned()) } else { Err("this is not the name of a namespace".to_owned()) }
}

/// Prints roles and bindings.
pub fn rbac(args: &RbacArgs) -> Result<(), Failure> {
    let config = super::load(&args.from)?.config;
    let include: Vec<String> = config.watch.one_by_one().into_iter().map(str::to_owned).collect();
    let namespaces = match args.namespaced.as_deref() {
        None => None,
        Some([]) if include.is_empty() => {
            let hint =
                "name them: `--namespaced shop,billing`, or in `watch.namespaces.include` of a --config";
            return Err(Failure::Usage(anyhow!("which namespaces? {hint}")));
        }
        Some([]) => Some(include.as_slice()),
        Some(names) => Some(names),
    };
    if namespaces.is_none() && !include.is_empty() {
        output::say(
            "note: the configuration names its namespaces; with `--namespaced` a Role in each is enough",
        );
    }
    let subject = args.user.clone().map_or_else(|| args.serviceaccount.clone(), Subject::User);
    print(&manifests(&config, namespaces.map_or(Reach::Cluster, Reach::Namespaces), &subject))
}
