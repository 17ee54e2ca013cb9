//! Business queries: each in its tenant's schema, with its rights and within a time limit.
