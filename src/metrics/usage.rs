//! What the tenants' counters say: rows against the limits that triggers enforce.
