//! One task a livestream: sessions, numbers, the live window, the registry.
