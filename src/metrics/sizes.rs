//! Bytes on disk of tenants: exact from the files, exact by the server's functions, estimated from the catalog.
