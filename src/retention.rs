//! Drops the chunks of hypertables that a tier keeps no longer.
