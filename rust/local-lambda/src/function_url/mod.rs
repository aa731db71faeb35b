//! The Function URL in front of the function: SigV4, payload-2.0 events, answers, limits.
