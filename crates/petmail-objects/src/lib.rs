//! Packs at services that know nothing of Petmail: S3, WebDAV, SFTP, a folder. Each pack is an object, written in one go.
//!
//! Knows accounts at such services and the objects there, and neither who keeps packs nor why. Specification: Storage.

mod account;
mod backend;
mod error;
mod locator;
mod objects;
mod options;
mod trial;

pub use self::{
    account::{Account, Secret, ServiceKind},
    error::ObjectError,
    locator::LocatorError,
    objects::{Objects, Way},
};
