//! The client against servers of all sorts.

mod blobs;
mod documents;
mod fixture;
mod leads;
mod logins;
mod mirrors;
mod secure;
mod uploads;
