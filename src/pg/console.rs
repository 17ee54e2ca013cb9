//! The admin console of PgBouncer: it speaks the protocol, and knows commands of its own and nothing else, so that none of a
//! session's settings can be pinned there.

use std::collections::BTreeMap;

use tokio_postgres::{Client, SimpleQueryMessage};

use super::session::Connector;
use super::sql::Sql;
use super::sqlstate;
use crate::error::{Error, Result};

/// One row, by column; what is NULL is not in it.
pub type Line = BTreeMap<String, String>;

/// A connection to the console.
pub struct Console {
    client: Client,
}

impl Console {
    /// Connects to the first host that answers.
    ///
    /// # Errors
    /// Kind `connection`.
    pub async fn connect(connector: &Connector) -> Result<Self> {
        let mut first_error: Option<Error> = None;
        for host in 0..connector.info().hosts.len() {
            match connector.open_host(host).await {
                Ok((client, _)) => return Ok(Self { client }),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        Err(first_error.unwrap_or_else(|| Error::usage("the address of the admin console names no host")))
    }

    /// Runs one command; `doing` completes `failed to ...`.
    ///
    /// # Errors
    /// What the console refused.
    pub async fn query(&self, sql: &Sql, doing: &str) -> Result<Vec<Line>> {
        let answer = self.client.simple_query(&sql.wire()).await;
        let messages = answer.map_err(|e| sqlstate::from_driver(&e, doing))?;
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => {
                let values = row.columns().iter().enumerate();
                let line = values.filter_map(|(i, c)| Some((c.name().to_owned(), row.get(i)?.to_owned())));
                Some(line.collect())
            }
            _ => None,
        };
        Ok(messages.into_iter().filter_map(row).collect())
    }
}
