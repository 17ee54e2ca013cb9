//! A page with all figures that needs no network.
