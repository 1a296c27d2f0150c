//! The core against a small model of the services, under virtual time.
