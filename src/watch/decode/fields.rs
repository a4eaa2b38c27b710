//! The types of fields: text and lists of watched objects, bounded while they are decoded.
//!
//! The API server validates the names of objects, but not what stands in an Event or in a status: a
//! tenant may write an Event whose `reason` has 300 KB. Every text is therefore cleaned, masked and
//! cut before it is kept, here and nowhere else, so that no later part can forget it. What is cut
//! ends in [`text::CUT`], and is counted for each object.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::{Error, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::signal::{redact, text};

/// Bytes of an object's name, and of what is named like one (nodes, claims, containers)
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>).
pub const NAME: usize = 253;
/// Bytes of a namespace, and of the value of a label: DNS labels.
pub const LABEL: usize = 63;
/// Bytes of a qualified name: a DNS subdomain, `/`, a label. Keys of labels, annotations and taints.
pub const KEY: usize = 317;
/// Bytes of a kind (`validateDNS1035Label` of custom resource definitions).
pub const KIND: usize = 63;
/// Bytes of a reason, and of who reports it (`events.k8s.io/v1`, where it is validated)
/// (<https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/events.go>).
pub const REASON: usize = 128;
/// Bytes of `involvedObject.fieldPath`: `spec.ephemeralContainers{NAME}` and its like.
pub const FIELD_PATH: usize = 300;
/// Bytes of an image: registry and repository 255, tag 128, digest 71, and what separates them.
pub const IMAGE: usize = 512;
/// Bytes of words from a closed list: phases, policies, `True`, `Warning`.
pub const WORD: usize = 32;
/// Containers of a pod, of each sort.
pub const CONTAINERS: usize = 100;
/// Conditions of an object, and taints of a node.
pub const CONDITIONS: usize = 64;
/// Finalizers of one object.
pub const FINALIZERS: usize = 16;

thread_local! {
    /// How much was cut of the object that this thread decodes.
    static CUT: Cell<u32> = const { Cell::new(0) };
}

/// Decodes one object; also returns how many of its texts and lists were cut.
pub(super) fn counted<T>(decode: impl FnOnce() -> T) -> (T, u32) {
    CUT.set(0);
    let decoded = decode();
    (decoded, CUT.get())
}

/// Counts a text or a list that was cut.
pub(super) fn cut() {
    CUT.set(CUT.get().saturating_add(1));
}

/// One line of at most `MAX` bytes: no control characters, no line ends, no secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// Cleans, masks and cuts.
    pub fn new(text: &str) -> Self {
        // The longest text that is looked at; the rest would be cut in any case.
        let bounded = text::cut(text, redact::MAX_INPUT);
        let masked = if is_harmless(&bounded) { Cow::Borrowed(&*bounded) } else { redact::redact(&bounded) };
        let cleaned: Cow<'_, str> = if masked.contains(unfit) {
            Cow::Owned(masked.chars().map(|c| if unfit(c) { text::REPLACED } else { c }).collect())
        } else {
            masked
        };
        let short = text::cut(&cleaned, MAX);
        if text.len() > redact::MAX_INPUT || short.len() < cleaned.len() {
            cut();
        }
        Self(short.into_owned())
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

/// Is it no secret, by its characters alone? Names of objects have lower case letters, digits, `-` and
/// `.`, and must stay what they are. Letters alone (`ContainersNotReady`) are no secret either, except
/// those that base64 or an access key may be made of.
fn is_harmless(text: &str) -> bool {
    let name =
        text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'/'));
    let word = text.bytes().all(|b| b.is_ascii_alphabetic())
        && (text.len() < 15 || (text.bytes().any(|b| b.is_ascii_lowercase()) && !text.contains("eyJ")));
    name || word
}

/// What must not stand in one line.
fn unfit(c: char) -> bool {
    text::is_hidden(c) || c.is_control()
}

impl<const MAX: usize> Deref for Text<MAX> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<const MAX: usize> PartialEq<str> for Text<MAX> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl<const MAX: usize> PartialEq<&str> for Text<MAX> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Cleaned<const MAX: usize>;
        impl<const MAX: usize> Visitor<'_> for Cleaned<MAX> {
            type Value = Text<MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text::new(text))
            }
        }
        deserializer.deserialize_str(Cleaned)
    }
}

/// Text of several lines, of at most [`text::MAX_TEXT`] bytes: see [`text::clean`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message(Arc<str>);

impl Default for Message {
    fn default() -> Self {
        Self(Arc::from(""))
    }
}

impl Message {
    /// The text itself; clones share it.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl Deref for Message {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Cleaned;
        impl Visitor<'_> for Cleaned {
            type Value = Message;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                let clean = text::clean(text);
                if text.len() > text::MAX_TEXT && clean.ends_with(text::CUT) {
                    cut();
                }
                Ok(Message(clean))
            }
        }
        deserializer.deserialize_str(Cleaned)
    }
}

/// The first `MAX` entries of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MAX: usize> Deref for List<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct First<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for First<T, MAX> {
            type Value = List<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut kept = Vec::new();
                while kept.len() < MAX {
                    match list.next_element()? {
                        Some(entry) => kept.push(entry),
                        None => return Ok(List(kept)),
                    }
                }
                if list.next_element::<IgnoredAny>()?.is_some() {
                    cut();
                    while list.next_element::<IgnoredAny>()?.is_some() {}
                }
                Ok(List(kept))
            }
        }
        deserializer.deserialize_seq(First(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<const MAX: usize>(text: &str) -> (String, u32) {
        let json = serde_json::to_string(text).unwrap();
        let (decoded, cut) = counted(|| serde_json::from_str::<Text<MAX>>(&json).unwrap());
        (decoded.into_string(), cut)
    }

    #[test]
    fn one_line_is_cleaned_masked_and_cut_and_cuts_are_counted() {
        assert_eq!(text::<NAME>("web-6d4b9-x2x7p"), ("web-6d4b9-x2x7p".into(), 0));
        assert_eq!(
            text::<REASON>("a\r\nb\tc\u{202e}d\u{2028}"),
            ("a\u{fffd}\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}".into(), 0)
        );
        assert_eq!(text::<REASON>("token=ghp_Ab3dEf6hIj9lMn2pQr5t"), ("token=[masked]".into(), 0));
        let (long, cuts) = text::<REASON>(&"ä".repeat(300_000));
        assert!(long.len() <= REASON && long.ends_with('…') && cuts == 1, "{long}");
        // The secret is masked before the text is cut: half of one would look like nothing.
        let (long, _) = text::<WORD>(&format!("password={}", "hunter2".repeat(20)));
        assert_eq!(long, "password=[masked]");
    }

    #[test]
    fn names_of_objects_are_left_as_they_are() {
        for name in
            ["xoxb-1234567-abcdefg", "sk-0123456789abcdef0123456789abcdef01", "hvs.aaaaaaaaaaaaaaaaaaaaaaaa"]
        {
            assert_eq!(text::<NAME>(name).0, name);
        }
    }

    #[test]
    fn lists_keep_their_first_entries() {
        let json = serde_json::to_string(&(0..1000).collect::<Vec<u32>>()).unwrap();
        let (list, cuts) = counted(|| serde_json::from_str::<List<u32, 3>>(&json).unwrap());
        assert_eq!((&*list, cuts), (&[0, 1, 2][..], 1));
        let (list, cuts) = counted(|| serde_json::from_str::<List<u32, 3>>("[0,1,2]").unwrap());
        assert_eq!((list.len(), cuts), (3, 0));
    }
}
