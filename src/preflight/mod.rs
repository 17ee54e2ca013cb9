//! The deployment checklist: what must hold before tenants are served, and after.
