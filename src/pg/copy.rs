//! COPY: rows out of and into a session, as the bytes that the server sends and takes.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};

use bytes::Bytes;
use futures_util::{SinkExt, Stream, StreamExt};
use tokio_postgres::{CopyInSink, CopyOutStream};

use super::session::Session;
use super::sql::Sql;
use super::sqlstate;
use crate::error::Result;

/// Rows on their way out. In the binary form the first message begins with the header of 19 bytes and the last one is the
/// trailer; else a message is a row, as the protocol says.
pub struct CopyOut {
    stream: Pin<Box<CopyOutStream>>,
    doing: String,
}

/// The header of the binary form, with no flags and no extension.
pub const BINARY_HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// The trailer of the binary form.
pub const BINARY_TRAILER: &[u8; 2] = b"\xff\xff";

impl CopyOut {
    /// The next message; none at the end.
    ///
    /// # Errors
    /// What the server refused, classified.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        match self.stream.next().await {
            None => Ok(None),
            Some(Ok(bytes)) => Ok(Some(bytes)),
            Some(Err(error)) => Err(sqlstate::from_driver(&error, &self.doing)),
        }
    }

    /// Gives one message after the other away until `take` has had enough and says false, or there is none left. As there is a
    /// message for each row, this is a good deal cheaper than to wait for each.
    ///
    /// # Errors
    /// What the server refused, classified; what `take` returns.
    pub async fn take_while(&mut self, mut take: impl FnMut(&Bytes) -> Result<bool>) -> Result<()> {
        poll_fn(|context| {
            loop {
                match ready!(self.stream.as_mut().poll_next(context)) {
                    None => return Poll::Ready(Ok(())),
                    Some(Ok(bytes)) if take(&bytes)? => {}
                    Some(Ok(_)) => return Poll::Ready(Ok(())),
                    Some(Err(error)) => return Poll::Ready(Err(sqlstate::from_driver(&error, &self.doing))),
                }
            }
        })
        .await
    }
}

/// Rows on their way in. Dropped without [`CopyIn::finish`], the server takes none of them.
pub struct CopyIn {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    doing: String,
}

impl CopyIn {
    /// Sends bytes, cut wherever it suits.
    ///
    /// # Errors
    /// What the server refused, classified.
    pub async fn send(&mut self, bytes: Bytes) -> Result<()> {
        self.sink
            .feed(bytes)
            .await
            .map_err(|e| sqlstate::from_driver(&e, &self.doing))
    }

    /// Ends it; returns the rows that the server took.
    ///
    /// # Errors
    /// What the server refused, classified.
    pub async fn finish(mut self) -> Result<u64> {
        self.sink
            .as_mut()
            .finish()
            .await
            .map_err(|e| sqlstate::from_driver(&e, &self.doing))
    }
}

impl Session {
    /// Begins `COPY ... TO STDOUT`.
    ///
    /// # Errors
    /// What the server refused, classified.
    pub async fn copy_out(&self, sql: &Sql, doing: &str) -> Result<CopyOut> {
        tracing::debug!(%sql, "copy out");
        let stream = self
            .client()
            .copy_out(&sql.wire())
            .await
            .map_err(|e| sqlstate::from_driver(&e, doing))?;
        Ok(CopyOut {
            stream: Box::pin(stream),
            doing: doing.to_owned(),
        })
    }

    /// Begins `COPY ... FROM STDIN`.
    ///
    /// # Errors
    /// What the server refused, classified.
    pub async fn copy_in(&self, sql: &Sql, doing: &str) -> Result<CopyIn> {
        tracing::debug!(%sql, "copy in");
        let sink = self
            .client()
            .copy_in(&sql.wire())
            .await
            .map_err(|e| sqlstate::from_driver(&e, doing))?;
        Ok(CopyIn {
            sink: Box::pin(sink),
            doing: doing.to_owned(),
        })
    }
}
