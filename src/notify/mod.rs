//! Tells the outside world of alerts: what began, what got worse, what ended, each once.
//!
//! [`ledger`] keeps in the registry what was told, [`deliver`] posts it.

pub mod deliver;
pub mod ledger;
