//! Over real sockets: who is asked, and when not.
