//! The origin's rules, each by name, against a livestream made by hand.

mod blocking;
mod http;
mod sockets;
mod stage;
mod stored;
