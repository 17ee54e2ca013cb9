//! The policy's tests by subject; helpers that more than one needs.

mod builtin;
mod files;
mod over;
mod refused_text;
mod refused_values;

use std::path::Path;

use super::*;
use crate::error::ErrorKind;

/// Name of the file in these tests.
const NAME: &str = "t.yaml";

fn parse(text: &str) -> Result<Config> {
    Config::parse(text, NAME, Path::new(""))
}

fn good(text: &str) -> Config {
    parse(text).unwrap_or_else(|e| panic!("{text}\n{e}; {:?}; {:?}", e.cause(), e.hint()))
}

fn builtin() -> Config {
    Config::builtin().expect("the built-in policy is valid")
}

/// The message must be exactly this, behind the file's name; the hint must hold that.
fn refused(text: &str, message: &str, hint: &str) {
    let error = parse(text).err().unwrap_or_else(|| panic!("accepted:\n{text}"));
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.message(), format!("{NAME}:{message}"), "{text}");
    assert!(
        error.hint().unwrap_or_default().contains(hint),
        "{text}\n{hint:?} not in {:?}",
        error.hint()
    );
    for part in [
        error.message(),
        error.hint().unwrap_or_default(),
        error.cause().unwrap_or_default(),
    ] {
        assert!(!part.contains("hunter2") && !part.contains('\n'), "{part}");
    }
}

/// A file with one valid tier; `replace` changes it.
const TIER: &str = "\
templates:
  small:
    name: Small
    description: for trying
    features: [portfolios]
    limits:
      max_portfolios: 5
      max_positions_per_portfolio: 100
      max_trades_per_day: 1000
      max_api_calls_per_minute: 100
      max_schema_size_gb: 10
      max_connections: 25
";

fn tier_with(from: &str, to: &str) -> String {
    assert!(TIER.contains(from), "{from}");
    TIER.replacen(from, to, 1)
}
