//! The commands: serve, demo, doctor, plan.
