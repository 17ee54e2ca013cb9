//! `template.json`: the template of a backup's tenant, so that a cluster that never knew it can be given it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::tenant::{Hypertable, Module, ModuleObjects, Template};

/// The stem of the member's name.
pub const TEMPLATE: &str = "template.json";

#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    version: i32,
    modules: Vec<StoredModule>,
    hypertables: Vec<Hypertable>,
    bulk_load: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredModule {
    name: String,
    feature: Option<String>,
    sql: String,
}

/// As it is stored.
pub fn to_json(template: &Template) -> String {
    let modules = template.modules.iter().map(|module| StoredModule {
        name: module.name.clone(),
        feature: module.feature.clone(),
        sql: module.sql.to_string(),
    });
    let stored = Stored {
        name: template.name.clone(),
        version: template.version,
        modules: modules.collect(),
        hypertables: template.hypertables.clone(),
        bulk_load: template.bulk_load.clone(),
    };
    // Plain data with text keys cannot fail to serialise.
    let mut json = serde_json::to_string_pretty(&stored).unwrap_or_default();
    json.push('\n');
    json
}

/// Reads it back. What its modules create is known only to a registry that has installed it; the version is that of the
/// registry that the backup was made with.
///
/// # Errors
/// Kind `store` when it is not what [`to_json`] wrote, or has another checksum than the manifest names.
pub fn from_json(text: &str, sha256: &str) -> Result<Template> {
    let damaged = |why: String| Error::new(ErrorKind::Store, format!("{TEMPLATE} cannot be read")).with_cause(why);
    let stored: Stored = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
    let modules = stored.modules.into_iter().map(|module| Module {
        name: module.name,
        feature: module.feature,
        sql: module.sql.into(),
        objects: ModuleObjects::default(),
    });
    let template = Template {
        name: stored.name,
        version: stored.version,
        modules: modules.collect(),
        hypertables: stored.hypertables,
        bulk_load: stored.bulk_load,
    };
    if template.sha256() != sha256 {
        return Err(damaged("it is another template than the manifest names".into()));
    }
    Ok(template)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_comes_back_as_it_was() {
        let template = Template {
            name: "trading".into(),
            version: 3,
            modules: vec![Module {
                name: "a".into(),
                feature: Some("f".into()),
                sql: "CREATE TABLE \"é\" ();\n".into(),
                objects: ModuleObjects::default(),
            }],
            hypertables: vec![Hypertable {
                table: "t".into(),
                column: "c".into(),
                chunk_interval: "1 day".into(),
            }],
            bulk_load: ["t".to_owned()].into(),
        };
        let json = to_json(&template);
        assert_eq!(from_json(&json, &template.sha256()).expect("readable"), template);
        assert!(from_json(&json, "00").is_err());
        assert!(from_json("{}", "00").is_err());
    }
}
