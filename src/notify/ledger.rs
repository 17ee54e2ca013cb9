//! What fires, and what the receivers were told of it, in the registry.
