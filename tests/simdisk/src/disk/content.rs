//! Contents of files, and what a crash leaves of changes that were not flushed.

use super::SECTOR;

#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

impl Change {
    pub(super) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Truncate(len) => content.truncate(*len),
            Self::Write { offset, bytes } => put(content, *offset, bytes),
        }
    }
}

pub(super) fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % (n as u64).max(1)).unwrap_or(0)
    }
}

pub(super) fn tail(mut content: Vec<u8>, pending: &[Change], random: &mut Random) -> Vec<u8> {
    let kept = random.below(pending.len() + 1);
    pending.iter().take(kept).for_each(|change| change.apply(&mut content));
    if let Some(Change::Write { offset, bytes }) = pending.get(kept) {
        let whole = random.below(bytes.len().div_ceil(SECTOR) + 1) * SECTOR;
        put(&mut content, *offset, &bytes[..whole.min(bytes.len())]);
    }
    content
}

pub(super) fn sectors(mut content: Vec<u8>, pending: &[Change], random: &mut Random) -> Vec<u8> {
    for change in pending {
        match change {
            Change::Truncate(_) if random.below(2) == 0 => change.apply(&mut content),
            Change::Truncate(_) => {}
            Change::Write { offset, bytes } => {
                for (sector, part) in bytes.chunks(SECTOR).enumerate() {
                    if random.below(2) == 0 {
                        put(&mut content, offset + sector * SECTOR, part);
                    }
                }
            }
        }
    }
    content
}
