//! Plain text of messages.
