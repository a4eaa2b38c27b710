//! What is wrong now, and how often it was met.

use super::super::plan::{ApiFault, DiskFault, ReceiverFault, SECOND, What};
use super::{REQUESTS_LOST, World, lock};

impl World {
    pub fn begin_api_fault(&self, item: usize, fault: ApiFault, resources: &[String]) {
        self.state().api.push((item, fault, resources.to_vec()));
    }

    /// What the API server does wrong now, to which resources.
    pub fn api_faults(&self) -> Vec<(usize, ApiFault, Vec<String>)> {
        self.state().api.clone()
    }

    pub fn begin_receiver_fault(&self, item: usize, receiver: &str, fault: ReceiverFault) {
        self.state().receivers.push((item, receiver.to_owned(), fault));
    }

    pub fn begin_disk_fault(&self, item: usize, fault: DiskFault) {
        self.state().disk.push((item, fault));
    }

    /// The fault of an item is over.
    pub fn end_fault(&self, item: usize) {
        let mut state = self.state();
        state.api.retain(|(of, ..)| *of != item);
        state.receivers.retain(|(of, ..)| *of != item);
        state.disk.retain(|(of, _)| *of != item);
    }

    pub fn receiver_fault(&self, receiver: &str) -> Option<ReceiverFault> {
        let found =
            self.state().receivers.iter().find(|(_, of, _)| of == receiver).map(|(item, _, f)| (*item, *f));
        let (item, fault) = found?;
        self.met(&self.plan.items[item].what);
        Some(fault)
    }

    pub fn disk_fault(&self) -> Option<DiskFault> {
        let found = self.state().disk.first().copied();
        found.map(|(_, fault)| fault)
    }

    /// Something that was planned had an effect.
    pub fn met(&self, what: &What) {
        *lock(&self.record).met.entry(what.label()).or_default() += 1;
    }

    /// The fault of the disk had an effect.
    pub fn met_disk(&self) {
        let item = self.state().disk.first().map(|(item, _)| *item);
        if let Some(item) = item {
            self.met(&self.plan.items[item].what);
        }
    }

    /// A list or a watch was asked for.
    pub fn requested(&self, resource: &str) {
        let now = self.now();
        let mut record = lock(&self.record);
        let times = record.requests.entry(resource.to_owned()).or_default();
        times.push(now);
        let minute = times.iter().rev().take_while(|at| **at + 60 * SECOND > now).count();
        drop(record);
        if minute > REQUESTS_LOST {
            let text = format!("{minute} requests for {resource} within a minute");
            self.give_up("requests", text);
        }
    }
}
