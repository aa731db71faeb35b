//! The words of the status endpoint.
