//! `templates:` and `template:`: tiers, modules, and whether the two fit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::document::{At, Fields, bounds, did_you_mean, quoted};
use super::policy::CONNECTIONS_MAX;
use super::{builtin, names, read};
use crate::error::{Error, Result};
use crate::tenant::{
    Features, Hypertable, Limit, Limits, Module, ModuleObjects, Retention, Template, Tier, TimeSeries,
};

/// What a tenant is made of; [`Config::template`](super::Config::template) adds the modules' texts.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplatePolicy {
    /// Installed as the schema `template_<name>`.
    pub name: String,
    /// The folder of the modules' files, relative to the working directory; none: the built-in modules.
    pub directory: Option<PathBuf>,
    /// In replay order.
    pub modules: Vec<ModulePolicy>,
    /// Tables that become hypertables where TimescaleDB is there.
    pub hypertables: Vec<Hypertable>,
    /// How long the rows of hypertables are kept; those that are not in it for ever.
    pub retention: BTreeMap<String, Retention>,
    /// Tables that tenants load with COPY, without row security.
    pub bulk_load: BTreeSet<String>,
}

/// A module before its file is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModulePolicy {
    /// The file's stem.
    pub name: String,
    /// The feature that selects it; none: every tenant has it.
    pub feature: Option<String>,
    /// Modules before it that it refers to; a tier that has it has those.
    pub requires: Vec<String>,
}

const KEYS: &[&str] = &["name", "directory", "modules", "hypertables", "bulk_load"];
/// Longest module that is read.
const MODULE_MAX_BYTES: u64 = 4 << 20;

impl TemplatePolicy {
    pub(super) fn decode(parent: &Fields<'_>, base_dir: &Path) -> Result<Self> {
        let fields = parent.section("template", KEYS)?;
        let name = name_of(&fields.get("name")?, names::template)?;
        let directory = match fields.own("directory") {
            Some(at) => at.optional_line()?.map(|folder| base_dir.join(folder)),
            None => None,
        };
        let modules = modules(&fields.get("modules")?, directory.is_none())?;
        // The built-in tables belong to the built-in modules.
        let tables = |key| match fields.own("modules") {
            Some(_) if fields.own(key).is_none() => Ok(None),
            _ => fields.get(key).map(Some),
        };
        let (hypertables, retention) = match tables("hypertables")? {
            Some(list) => hypertables(&list)?,
            None => Default::default(),
        };
        Ok(Self {
            name,
            directory,
            modules,
            hypertables,
            retention,
            bulk_load: tables("bulk_load")?.as_ref().map_or(Ok(BTreeSet::new()), bulk_load)?,
        })
    }

    /// Reads the modules.
    pub(super) fn load(&self) -> Result<Template> {
        let modules = self.modules.iter().map(|module| {
            Ok(Module {
                name: module.name.clone(),
                feature: module.feature.clone(),
                sql: self.sql(&module.name)?,
                objects: ModuleObjects::default(),
            })
        });
        Ok(Template {
            name: self.name.clone(),
            version: 0,
            modules: modules.collect::<Result<_>>()?,
            hypertables: self.hypertables.clone(),
            bulk_load: self.bulk_load.clone(),
        })
    }

    fn sql(&self, module: &str) -> Result<Arc<str>> {
        let Some(directory) = &self.directory else {
            return builtin::module(module)
                .map(Arc::from)
                .ok_or_else(|| Error::config(format!("there is no built-in module {module:?}")));
        };
        let path = directory.join(format!("{module}.sql"));
        let hint = "`template.directory` names the folder, relative to the configuration file; \
                    `template.modules` names the files without .sql.";
        let text = read::text(&path, MODULE_MAX_BYTES, hint)?;
        if text.trim().is_empty() {
            return Err(Error::config(format!("{} is empty", path.display())).with_hint(format!(
                "Write the module's SQL, or take {module} out of `template.modules`."
            )));
        }
        Ok(text.into())
    }

    /// The features of a tier lead to modules; are those that they need among them?
    fn check_features(&self, at: &At<'_>, tier: &str, features: &BTreeMap<&str, At<'_>>) -> Result<()> {
        let selected = |module: &ModulePolicy| module.feature.as_deref().is_none_or(|f| features.contains_key(f));
        for module in self.modules.iter().filter(|module| selected(module)) {
            for name in &module.requires {
                let Some(needed) = self.modules.iter().find(|m| m.name == *name && !selected(m)) else {
                    continue;
                };
                let feature = module.feature.as_deref().unwrap_or_default();
                let missing = needed.feature.as_deref().unwrap_or_default();
                return Err(features
                    .get(feature)
                    .unwrap_or(at)
                    .refuse(format_args!(
                        "feature {feature:?} needs feature {missing:?}, which tier {tier} lacks"
                    ))
                    .with_hint(format!(
                        "Add {missing} to the features of {tier}: module {} requires {name}.",
                        module.name
                    )));
            }
        }
        Ok(())
    }
}

fn name_of(at: &At<'_>, check: fn(&str) -> Option<&'static str>) -> Result<String> {
    let name = at.line()?;
    match check(name) {
        None => Ok(name.to_owned()),
        Some(rule) => Err(at.refuse(format_args!("invalid name {}", quoted(name))).with_hint(rule)),
    }
}

fn modules(list: &At<'_>, built_in: bool) -> Result<Vec<ModulePolicy>> {
    let mut modules: Vec<ModulePolicy> = Vec::new();
    for at in list.list()? {
        if at.as_text().is_some() {
            return Err(at
                .wrong("a module with its `name`")
                .with_hint("Write - {name: portfolios, feature: portfolios}."));
        }
        let fields = Fields::open(Some(at), None, &["name", "feature", "requires"])?;
        let at = fields.get("name")?;
        let name = name_of(&at, names::module)?;
        if modules.iter().any(|module| module.name == name) {
            return Err(at.refuse(format_args!("module {name:?} is listed twice")));
        }
        if built_in && builtin::module(&name).is_none() {
            let known: Vec<&str> = builtin::MODULES.iter().map(|(known, _)| *known).collect();
            return Err(at
                .refuse(format_args!("there is no built-in module {name:?}"))
                .with_hint(format!(
                    "{} `template.directory` names the folder of your own.",
                    did_you_mean(&name, "Built-in modules", &known)
                )));
        }
        let feature = match fields.filled("feature") {
            Some(at) => Some(name_of(&at, names::feature)?),
            None => None,
        };
        let requires = match fields.own("requires") {
            Some(at) => requires(&at, feature.as_deref(), &modules)?,
            None => Vec::new(),
        };
        modules.push(ModulePolicy {
            name,
            feature,
            requires,
        });
    }
    if modules.is_empty() {
        return Err(list.refuse("a template needs at least one module"));
    }
    Ok(modules)
}

fn requires(at: &At<'_>, feature: Option<&str>, before: &[ModulePolicy]) -> Result<Vec<String>> {
    let needed = |at: At<'_>| {
        let name = at.line()?;
        let Some(module) = before.iter().find(|module| module.name == name) else {
            let known: Vec<&str> = before.iter().map(|module| module.name.as_str()).collect();
            return Err(at
                .refuse(format_args!("no module {} stands above this one", quoted(name)))
                .with_hint(format!(
                    "Modules are replayed in this order. {}",
                    did_you_mean(name, "Above", &known)
                )));
        };
        if feature.is_none() && module.feature.is_some() {
            return Err(at
                .refuse(format_args!(
                    "every tenant gets this module, but not every tenant gets {name:?}"
                ))
                .with_hint("Give this module a `feature`, or take away the other's."));
        }
        Ok(name.to_owned())
    };
    at.list()?.into_iter().map(needed).collect()
}

fn hypertables(list: &At<'_>) -> Result<(Vec<Hypertable>, BTreeMap<String, Retention>)> {
    let mut tables: Vec<Hypertable> = Vec::new();
    let mut kept = BTreeMap::new();
    for at in list.list()? {
        let fields = Fields::open(Some(at), None, &["table", "column", "chunk_interval", "retention"])?;
        let at = fields.get("table")?;
        let table = name_of(&at, names::identifier)?;
        if tables.iter().any(|known| known.table == table) {
            return Err(at.refuse(format_args!("table {table:?} is listed twice")));
        }
        let column = name_of(&fields.get("column")?, names::identifier)?;
        let chunk_interval = interval(&fields.get("chunk_interval")?)?;
        if let Some(at) = fields.own("retention") {
            kept.insert(table.clone(), retention(&at)?);
        }
        tables.push(Hypertable {
            table,
            column,
            chunk_interval,
        });
    }
    Ok((tables, kept))
}

fn retention(at: &At<'_>) -> Result<Retention> {
    if at.is_null() || at.as_text() == Some("none") {
        return Ok(Retention::ForEver);
    }
    Ok(Retention::For(interval(at).map_err(|e| {
        e.with_hint("Such as `2 years`; `none` keeps the rows for ever.")
    })?))
}

/// What a tier wants of hypertables, by table.
fn time_series(at: &At<'_>, template: &TemplatePolicy) -> Result<BTreeMap<String, TimeSeries>> {
    let mut wanted = BTreeMap::new();
    for (table, at) in at.entries(names::identifier)? {
        let known: Vec<&str> = template.hypertables.iter().map(|h| h.table.as_str()).collect();
        if !known.contains(&table) {
            return Err(at
                .refuse(format_args!("table {} is no hypertable of the template", quoted(table)))
                .with_hint(did_you_mean(table, "`template.hypertables`", &known)));
        }
        let fields = Fields::open(Some(at), None, &["chunk_interval", "retention"])?;
        let own = TimeSeries {
            chunk_interval: fields.own("chunk_interval").map(|at| interval(&at)).transpose()?,
            retention: fields.own("retention").map(|at| retention(&at)).transpose()?,
        };
        wanted.insert(table.to_owned(), own);
    }
    Ok(wanted)
}

/// A whole number and a unit, in one spelling.
fn interval(at: &At<'_>) -> Result<String> {
    const UNITS: [&str; 6] = ["minute", "hour", "day", "week", "month", "year"];
    let expected = "a whole number and a unit, such as `1 day`";
    let Some(text) = at.as_text().map(str::trim) else {
        return Err(at.wrong(expected));
    };
    let hint = format!("The number is 1 to 9999; the units: {}.", UNITS.join(", "));
    let wrong = || Err(at.wrong(expected).with_hint(hint.clone()));
    let Some((number, unit)) = text.split_once(' ') else {
        return wrong();
    };
    let digits = !number.is_empty() && number.len() <= 4 && number.bytes().all(|b| b.is_ascii_digit());
    let Some(number) = number.parse::<u16>().ok().filter(|&n| digits && n > 0) else {
        return wrong();
    };
    let unit = unit.trim_start().to_ascii_lowercase();
    match UNITS
        .iter()
        .find(|known| unit.strip_suffix('s').unwrap_or(&unit) == **known)
    {
        // One spelling, since the template's checksum covers it.
        Some(unit) => Ok(format!("{number} {unit}{}", if number == 1 { "" } else { "s" })),
        None => wrong(),
    }
}

fn bulk_load(list: &At<'_>) -> Result<BTreeSet<String>> {
    let mut tables = BTreeSet::new();
    for at in list.list()? {
        let table = name_of(&at, names::identifier)?;
        if tables.contains(&table) {
            return Err(at.refuse(format_args!("table {table:?} is listed twice")));
        }
        tables.insert(table);
    }
    Ok(tables)
}

/// Reads `templates:`, the user's or the built-in ones, against the modules that there are.
pub fn tiers(parent: &Fields<'_>, template: &TemplatePolicy) -> Result<Vec<Tier>> {
    if let Some(own) = parent.filled("templates") {
        return decode_tiers(&own, template);
    }
    let built_in = parent
        .built_in("templates")
        .ok_or_else(|| Error::config("the built-in policy has no tiers"))?;
    decode_tiers(&built_in, template).map_err(|error| {
        match parent.section("template", KEYS).map(|t| t.own("modules")) {
            // The built-in tiers have no fault: the user's modules do not suit them.
            Ok(Some(modules)) => modules
                .refuse("the built-in tiers do not fit these modules")
                .with_cause(error.message())
                .with_hint("Add `templates:` with tiers of your own, whose features these modules have."),
            _ => error,
        }
    })
}

fn decode_tiers(at: &At<'_>, template: &TemplatePolicy) -> Result<Vec<Tier>> {
    let tiers = at.entries(names::tier)?;
    if tiers.is_empty() {
        return Err(at.refuse("there must be at least one tier"));
    }
    tiers.into_iter().map(|(key, at)| tier(key, at, template)).collect()
}

fn tier(key: &str, at: At<'_>, template: &TemplatePolicy) -> Result<Tier> {
    let fields = Fields::open(
        Some(at),
        None,
        &["name", "description", "features", "limits", "hypertables"],
    )?;
    let text = |key| match fields.own(key) {
        Some(at) => at.optional_line(),
        None => Ok(None),
    };
    Ok(Tier {
        key: key.to_owned(),
        name: text("name")?.unwrap_or(key).to_owned(),
        description: text("description")?.unwrap_or_default().to_owned(),
        features: features(key, &fields.get("features")?, template)?,
        limits: limits(fields.get("limits")?)?,
        hypertables: match fields.filled("hypertables") {
            Some(at) => time_series(&at, template)?,
            None => BTreeMap::new(),
        },
    })
}

fn features(tier: &str, at: &At<'_>, template: &TemplatePolicy) -> Result<Features> {
    const ALL: &str = "all";
    if at.as_text() == Some(ALL) {
        return Ok(Features::All);
    }
    let list = at.list()?;
    if list.is_empty() {
        return Err(at
            .refuse("a tier needs at least one feature")
            .with_hint("Write [all] for all of them."));
    }
    if list.len() == 1 && list[0].as_text() == Some(ALL) {
        return Ok(Features::All);
    }
    let known: BTreeSet<&str> = template
        .modules
        .iter()
        .filter_map(|module| module.feature.as_deref())
        .collect();
    let known: Vec<&str> = known.into_iter().collect();
    let mut features: BTreeMap<&str, At<'_>> = BTreeMap::new();
    for item in list {
        let name = item.line()?;
        if name == ALL {
            return Err(item
                .refuse("`all` cannot stand beside other features")
                .with_hint("Keep either `all` or the others."));
        }
        if !known.contains(&name) {
            return Err(item
                .refuse(format_args!("unknown feature {}", quoted(name)))
                .with_hint(did_you_mean(name, "Features of the template", &known)));
        }
        if features.contains_key(name) {
            return Err(item.refuse(format_args!("feature {name:?} is listed twice")));
        }
        features.insert(name, item);
    }
    template.check_features(at, tier, &features)?;
    Ok(Features::Only(features.into_keys().map(str::to_owned).collect()))
}

fn limits(at: At<'_>) -> Result<Limits> {
    let keys = &[
        "max_portfolios",
        "max_positions_per_portfolio",
        "max_trades_per_day",
        "max_api_calls_per_minute",
        "max_schema_size_gb",
        "max_connections",
    ];
    let fields = Fields::open(Some(at), None, keys)?;
    let limit = |key, max| limit(&fields, key, max);
    // Row counts and bytes are bigint in PostgreSQL.
    const ROWS: u64 = i64::MAX as u64;
    Ok(Limits {
        max_portfolios: limit("max_portfolios", ROWS)?,
        max_positions_per_portfolio: limit("max_positions_per_portfolio", ROWS)?,
        max_trades_per_day: limit("max_trades_per_day", ROWS)?,
        max_api_calls_per_minute: limit("max_api_calls_per_minute", ROWS)?,
        max_schema_size_gb: limit("max_schema_size_gb", ROWS >> 30)?,
        max_connections: limit("max_connections", CONNECTIONS_MAX)?,
    })
}

fn limit(fields: &Fields<'_>, key: &str, max: u64) -> Result<Limit> {
    let at = fields
        .get(key)
        .map_err(|e| e.with_hint("Write `unlimited` for no limit."))?;
    match at.as_text() {
        Some("unlimited") => Ok(Limit::Unlimited),
        _ if at.is_whole() => at
            .whole(1..=max)
            .map(Limit::Max)
            .map_err(|_| at.wrong(format_args!("a whole number {} or `unlimited`", bounds(&(1..=max))))),
        _ => Err(at.wrong("a whole number or `unlimited`")),
    }
}
