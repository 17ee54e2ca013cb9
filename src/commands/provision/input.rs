//! Which tenants are asked for: checked as a whole before any is made.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::cli::ProvisionArgs;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::provisioner::Request;
use crate::tenant::{TenantId, Tier};

/// The tenants of the command line, then those of the file.
///
/// # Errors
/// Kinds `usage` and `config`, naming file and line: a bad id, an id given twice, an unknown tier.
pub async fn requests(args: &ProvisionArgs, config: &Config) -> Result<Vec<Request>> {
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
        let (name, text) = read(path).await?;
        for (i, (number, line)) in content(&text).enumerate() {
            let place = format!("{name}:{number}");
            let (id, tier) = parse_line(line).map_err(|e| e.at(&place))?;
            if i == 0 && id == "tenant_id" {
                continue;
            }
            let tier = tiers.get(tier.unwrap_or(default)).map_err(|e| e.at(&place))?;
            list.add(id.parse().map_err(|e: Error| e.at(&place))?, tier, place)?;
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

/// The lines that say something, with their numbers.
fn content(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text
        .trim_start_matches('\u{feff}')
        .lines()
        .enumerate()
        .map(|(i, line)| (i + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// An id and maybe a tier.
fn parse_line(line: &str) -> Result<(&str, Option<&str>)> {
    let mut fields = line.split(',').map(|field| unquote(field.trim()));
    let id = fields.next().unwrap_or_default();
    let tier = fields.next().filter(|tier| !tier.is_empty());
    match fields.next() {
        None => Ok((id, tier)),
        Some(_) => Err(Error::usage("more than two fields").with_hint("A line is `tenant_id` or `tenant_id,tier`.")),
    }
}

/// Spreadsheets quote fields; no valid id or tier holds a quote.
fn unquote(field: &str) -> &str {
    field
        .strip_prefix('"')
        .and_then(|f| f.strip_suffix('"'))
        .unwrap_or(field)
}

/// More than a million tenants; a device or a wrong file ends here instead of in memory.
const FILE_MAX_BYTES: u64 = 64 << 20;

async fn read(path: &Path) -> Result<(String, String)> {
    let stdin = path == Path::new("-");
    let name = if stdin {
        "stdin".to_owned()
    } else {
        path.display().to_string()
    };
    let path = path.to_owned();
    // On a thread of its own: Ctrl-C must be heard while stdin has nothing to say.
    let reading = tokio::task::spawn_blocking(move || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let source: Box<dyn Read> = if stdin {
            Box::new(std::io::stdin())
        } else {
            Box::new(std::fs::File::open(path)?)
        };
        source.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    let bytes = reading
        .await
        .map_err(std::io::Error::other)
        .and_then(|read| read)
        .map_err(|e| Error::usage(format!("cannot read {name}")).with_cause(e))?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(
            Error::usage(format!("{name} is larger than {} MiB", FILE_MAX_BYTES >> 20))
                .with_hint("A file of tenants has one `tenant_id` or `tenant_id,tier` a line."),
        );
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::usage(format!("{name} is not UTF-8")).with_hint("Save it as plain text in UTF-8."))?;
    Ok((name, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_an_id_and_maybe_a_tier() {
        assert_eq!(parse_line("acme").expect("id"), ("acme", None));
        assert_eq!(parse_line("acme , basic").expect("both"), ("acme", Some("basic")));
        assert_eq!(
            parse_line("\"acme\",\"basic\"").expect("quoted"),
            ("acme", Some("basic"))
        );
        assert_eq!(parse_line("acme,").expect("empty tier"), ("acme", None));
        assert!(parse_line("a,b,c").is_err());
        let text = "\u{feff}# comment\r\n\r\ntenant_id,tier\r\n acme \n";
        assert_eq!(content(text).collect::<Vec<_>>(), [(3, "tenant_id,tier"), (4, "acme")]);
    }
}
