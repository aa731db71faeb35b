//! A real tailnet, AWS and Lambda on one machine.
