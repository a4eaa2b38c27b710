//! The way of one life to the API server: the real client over a pipe, with a seam before it.

use std::future::pending;
use std::sync::Arc;

use http::Request;
use kube::client::Body;

use super::cluster::RESOURCES;
use super::plan::{ApiFault, Seam};
use super::world::World;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub fn client(world: &Arc<World>) -> kube::Client {
    let inner = world.server.client().expect("a client of a server in memory");
    let world = Arc::clone(world);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (inner, world) = (inner.clone(), Arc::clone(&world));
        async move {
            let Some(operation) = world.begin(Seam::Api) else { return pending().await };
            let resource = resource(request.uri().path());
            let nth = world.nth(resource);
            world.note(&format!("asks for {}", request.uri()));
            world.requested(resource);
            for (item, _, resources) in world.api_faults() {
                if resources.is_empty() || resources.iter().any(|of| of == resource) {
                    world.met(&world.plan.items[item].what);
                }
            }
            tokio::time::sleep(world.latency(resource, nth, 1, 30)).await;
            let answered = inner.send(request).await;
            if world.end(operation) { answered.map_err(BoxError::from) } else { pending().await }
        }
    });
    kube::Client::new(service, "default")
}

/// `/apis/apps/v1/deployments` and `/api/v1/namespaces/shop/pods/x/log`
fn resource(path: &str) -> &'static str {
    if path.ends_with("/log") {
        return "logs";
    }
    let parts: Vec<&str> = path.split('/').collect();
    let found = parts.iter().rev().find_map(|part| RESOURCES.iter().find(|plural| *plural == part));
    found.copied().unwrap_or("other")
}

impl ApiFault {
    /// Is it only known after a while that nothing is seen?
    pub const fn is_silent(self) -> bool {
        matches!(self, Self::Silence | Self::Hang)
    }
}
