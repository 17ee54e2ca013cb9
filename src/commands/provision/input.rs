//! Which tenants are asked for: checked as a whole before any is made.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::cli::ProvisionArgs;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::provisioner::Request;
use crate::tenant::{TenantId, Tier};

/// The tenants of the command line, then those of the file.
///
/// # Errors
/// Kinds `usage` and `config`, naming file and line: a bad id, an id given twice, an unknown tier.
pub fn requests(args: &ProvisionArgs, config: &Config) -> Result<Vec<Request>> {
    let default = args.tier.as_deref().unwrap_or(&config.provisioning.default_tier);
    let mut tiers = Tiers {
        config,
        known: BTreeMap::new(),
    };
    tiers.get(default)?;
    let mut list = List {
        requests: Vec::new(),
        seen: BTreeMap::new(),
    };
    for text in &args.tenants {
        list.add(text.parse()?, tiers.get(default)?, "the command line".into())?;
    }
    if let Some(path) = &args.from_file {
        let (name, text) = read(path)?;
        for (i, line) in text.lines().enumerate() {
            let place = format!("{name}:{}", i + 1);
            let Some((id, tier)) = parse_line(line, i == 0).map_err(|e| at(&place, e))? else {
                continue;
            };
            let tier = tiers.get(tier.unwrap_or(default)).map_err(|e| at(&place, e))?;
            list.add(id.parse().map_err(|e| at(&place, e))?, tier, place)?;
        }
        if list.requests.is_empty() {
            return Err(Error::usage(format!("{name} names no tenant"))
                .with_hint("Write one `tenant_id` or `tenant_id,tier` a line; lines that start with # are comments."));
        }
    }
    Ok(list.requests)
}

struct Tiers<'a> {
    config: &'a Config,
    known: BTreeMap<String, Arc<Tier>>,
}

impl Tiers<'_> {
    fn get(&mut self, key: &str) -> Result<Arc<Tier>> {
        if let Some(tier) = self.known.get(key) {
            return Ok(Arc::clone(tier));
        }
        let tier = Arc::new(self.config.tier(key)?.clone());
        self.known.insert(key.to_owned(), Arc::clone(&tier));
        Ok(tier)
    }
}

struct List {
    requests: Vec<Request>,
    seen: BTreeMap<TenantId, String>,
}

impl List {
    fn add(&mut self, id: TenantId, tier: Arc<Tier>, place: String) -> Result<()> {
        if let Some(before) = self.seen.insert(id.clone(), place.clone()) {
            return Err(Error::usage(format!("tenant {id} is asked for twice"))
                .with_cause(format!("in {before} and in {place}"))
                .with_hint("Name every tenant once."));
        }
        self.requests.push(Request { id, tier });
        Ok(())
    }
}

fn at(place: &str, error: Error) -> Error {
    let message = format!("{place}: {}", error.message());
    let cause = error.cause().map(str::to_owned);
    let error = error.with_message(message);
    match cause {
        Some(cause) => error.with_cause(cause),
        None => error,
    }
}

/// An id and maybe a tier; nothing for blank lines, comments and a header.
fn parse_line(line: &str, first: bool) -> Result<Option<(&str, Option<&str>)>> {
    let line = line.trim_start_matches('\u{feff}').trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let mut fields = line.split(',').map(|field| unquote(field.trim()));
    let id = fields.next().unwrap_or_default();
    let tier = fields.next().filter(|tier| !tier.is_empty());
    if fields.next().is_some() {
        return Err(Error::usage("more than two fields").with_hint("A line is `tenant_id` or `tenant_id,tier`."));
    }
    if first && id == "tenant_id" {
        return Ok(None);
    }
    Ok(Some((id, tier)))
}

/// Spreadsheets quote fields; no valid id or tier holds a quote.
fn unquote(field: &str) -> &str {
    field
        .strip_prefix('"')
        .and_then(|f| f.strip_suffix('"'))
        .unwrap_or(field)
}

fn read(path: &Path) -> Result<(String, String)> {
    let stdin = path == Path::new("-");
    let name = if stdin {
        "stdin".to_owned()
    } else {
        path.display().to_string()
    };
    let mut bytes = Vec::new();
    let read = if stdin {
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| ())
    } else {
        std::fs::read(path).map(|content| bytes = content)
    };
    read.map_err(|e| Error::new(ErrorKind::Usage, format!("cannot read {name}")).with_cause(e))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::usage(format!("{name} is not UTF-8")).with_hint("Save it as plain text in UTF-8."))?;
    Ok((name, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_an_id_and_maybe_a_tier() {
        assert_eq!(parse_line("acme", false).expect("id"), Some(("acme", None)));
        assert_eq!(
            parse_line(" acme , basic ", false).expect("both"),
            Some(("acme", Some("basic")))
        );
        assert_eq!(
            parse_line("\"acme\",\"basic\"", false).expect("quoted"),
            Some(("acme", Some("basic")))
        );
        assert_eq!(parse_line("\u{feff}tenant_id,tier", true).expect("header"), None);
        assert_eq!(
            parse_line("tenant_id", false).expect("an id like any"),
            Some(("tenant_id", None))
        );
        assert_eq!(parse_line("# comment", false).expect("comment"), None);
        assert_eq!(parse_line("acme,", false).expect("empty tier"), Some(("acme", None)));
        assert!(parse_line("a,b,c", false).is_err());
    }
}
