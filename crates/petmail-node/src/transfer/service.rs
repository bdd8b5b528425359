//! Packs at a service that knows nothing of Petmail: S3, WebDAV, SFTP, a folder. Each pack is an object, written in one go.

use std::{collections::BTreeMap, error::Error as _, future::Future, io, path::Path, time::Duration};

use bytes::{Bytes, BytesMut};
use data_encoding::HEXLOWER;
use futures::{StreamExt, TryStreamExt, stream};
use opendal::{ErrorKind, HttpTransporter, OperationContext, Operator, services};
use opendal_http_transport_reqwest::ReqwestTransport;
use petmail_net::client::{TargetUrl, UrlPolicy};
use petmail_proto::content::{Link, PackId};
use rand_core::{OsRng, RngCore};
use tokio::time::timeout;

use super::Patience;
use crate::{
    agent::{
        Agent,
        records::services::{Service, ServiceKind},
    },
    network::storage::StorageError,
};

/// For how long links are good: the longest that S3 allows.
pub(crate) const LINK_LIFE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The longest time for one pack, either way.
const LIMIT: Duration = Duration::from_secs(240);

/// How many packs are asked for or signed at a time.
const AT_ONCE: usize = 4;

/// Where packs are, below the folder or prefix that was chosen.
const PACKS: &str = "packs/";

/// Where packs are until they are whole, at services that rename.
const ARRIVING: &str = "arriving/";

/// The length of what a test stores, in bytes.
const TEST_BYTES: usize = 100_000;

/// An option of a kind of service.
struct Known {
    name: &'static str,
    is_needed: bool,
    what: &'static str,
}

const fn needed(name: &'static str, what: &'static str) -> Known {
    Known { name, is_needed: true, what }
}

const fn allowed(name: &'static str, what: &'static str) -> Known {
    Known { name, is_needed: false, what }
}

const S3: &[Known] = &[
    needed("bucket", "the bucket's name"),
    needed("access_key_id", "the name of the key"),
    allowed("endpoint", "the service's URL; Amazon's, unless told otherwise"),
    allowed("region", "as the service names it; us-east-1 unless told otherwise"),
    allowed("prefix", "a folder in the bucket"),
];
const WEBDAV: &[Known] = &[needed("url", "the folder's URL"), allowed("username", "the account")];
const SFTP: &[Known] = &[
    needed("host", "ssh://HOST or ssh://HOST:PORT"),
    needed("user", "the account"),
    needed("folder", "an absolute path there"),
    allowed("key", "the file of the private key, on this machine; without it ssh chooses"),
    allowed("known_hosts", "`strict`, or `add` to trust the host's key when it is first seen"),
];
const FS: &[Known] = &[needed("path", "an absolute path")];

impl ServiceKind {
    fn known(self) -> &'static [Known] {
        match self {
            Self::S3 => S3,
            Self::Webdav => WEBDAV,
            Self::Sftp => SFTP,
            Self::Fs => FS,
        }
    }

    /// What the secret is, if there has to be one.
    pub(crate) fn secret(self, options: &BTreeMap<String, String>) -> Option<&'static str> {
        match self {
            Self::S3 => Some("secret access key"),
            Self::Webdav if options.contains_key("username") => Some("password"),
            Self::Webdav | Self::Sftp | Self::Fs => None,
        }
    }

    /// What to call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Webdav => "webdav",
            Self::Sftp => "sftp",
            Self::Fs => "fs",
        }
    }
}

/// Says what is wrong with the options of a service, and which there are.
pub(crate) fn check(service: &Service) -> Result<(), String> {
    let known = service.kind.known();
    let list = || {
        known.iter().map(|option| format!("{} ({})", option.name, option.what)).collect::<Vec<_>>().join(", ")
    };
    if let Some(foreign) = service.options.keys().find(|name| known.iter().all(|option| option.name != *name))
    {
        return Err(format!("{} has no option {foreign}; it has: {}", service.kind.name(), list()));
    }
    let is_there = |option: &Known| service.options.get(option.name).is_some_and(|value| !value.is_empty());
    if let Some(missing) = known.iter().find(|option| option.is_needed && !is_there(option)) {
        return Err(format!("{} needs the option {} ({})", service.kind.name(), missing.name, missing.what));
    }
    match (service.kind.secret(&service.options), &service.secret) {
        (Some(what), None) => Err(format!("{} needs a {what}", service.kind.name())),
        (None, Some(_)) => Err(format!("{} takes no secret with these options", service.kind.name())),
        _ => Ok(()),
    }
}

/// An open service.
#[derive(Clone, Debug)]
pub(crate) struct Objects {
    operator: Operator,
    /// Its address without what is secret, for people.
    pub(crate) address: String,
}

impl Objects {
    /// Opens a service; nobody is asked yet.
    ///
    /// # Errors
    /// [`StorageError::Refused`]: an option is wrong.
    pub(crate) fn open(agent: &Agent, service: &Service) -> Result<Self, StorageError> {
        check(service).map_err(StorageError::Refused)?;
        let option = |name: &str| service.options.get(name).map_or("", String::as_str);
        let secret = service.secret.as_ref().map_or("", |secret| secret.expose());
        let is_private = agent.network().may_be_private();
        let (built, address) = match service.kind {
            ServiceKind::S3 => {
                let region = if option("region").is_empty() { "us-east-1" } else { option("region") };
                let endpoint = match option("endpoint") {
                    "" => format!("https://s3.{region}.amazonaws.com"),
                    given => given.to_owned(),
                };
                check_url(&endpoint, is_private)?;
                let s3 = services::S3::default().endpoint(&endpoint).region(region).bucket(option("bucket"));
                let s3 = s3.root(&format!("/{}", option("prefix"))).access_key_id(option("access_key_id"));
                // Nothing but what was given counts: not this machine's environment, and not its cloud.
                let s3 = s3.secret_access_key(secret).disable_config_load().disable_ec2_metadata();
                let address = format!("{}/{}", endpoint.trim_end_matches('/'), option("bucket"));
                (Operator::new(s3), address)
            }
            ServiceKind::Webdav => {
                check_url(option("url"), is_private)?;
                let webdav = services::Webdav::default().endpoint(option("url"));
                let webdav = if option("username").is_empty() {
                    webdav
                } else {
                    webdav.username(option("username")).password(secret)
                };
                (Operator::new(webdav), option("url").to_owned())
            }
            ServiceKind::Sftp => {
                let strategy =
                    if option("known_hosts").is_empty() { "strict" } else { option("known_hosts") };
                if !["strict", "add"].contains(&strategy) {
                    return Err(StorageError::Refused("known_hosts is strict or add".to_owned()));
                }
                check_ssh(option("host"), option("user"), option("folder"), option("key"))?;
                if agent.network().has_proxy() {
                    return Err(StorageError::Refused(
                        "ssh would go around the proxy that this node is set to: use another kind of service"
                            .to_owned(),
                    ));
                }
                let sftp = services::Sftp::default().endpoint(option("host")).user(option("user"));
                let sftp = sftp.root(option("folder")).known_hosts_strategy(strategy);
                let sftp = if option("key").is_empty() { sftp } else { sftp.key(option("key")) };
                (Operator::new(sftp), format!("{}@{}:{}", option("user"), option("host"), option("folder")))
            }
            ServiceKind::Fs => {
                let path = Path::new(option("path"));
                if !path.is_absolute() || !path.is_dir() {
                    return Err(StorageError::Refused(format!(
                        "{} is no folder with an absolute path",
                        path.display()
                    )));
                }
                (Operator::new(services::Fs::default().root(option("path"))), option("path").to_owned())
            }
        };
        let operator = built.map_err(|error| StorageError::Refused(error.to_string()))?;
        let transport = HttpTransporter::new(ReqwestTransport::new(agent.network().service_client()?));
        let context = OperationContext::new().with_http_transport(transport);
        Ok(Self { operator: operator.with_context(context), address })
    }

    /// Tells whether contacts can read there, by links.
    pub(crate) fn has_links(&self) -> bool {
        self.operator.info().capability().presign_read
    }

    /// Stores a pack: whole, or not at all.
    pub(crate) async fn store(&self, pack: &PackId, bytes: Bytes) -> Result<(), StorageError> {
        self.write(&object(pack), bytes).await
    }

    async fn write(&self, name: &str, bytes: Bytes) -> Result<(), StorageError> {
        if !self.operator.info().capability().rename {
            return limited(self.operator.write(&format!("{PACKS}{name}"), bytes)).await.map(drop);
        }
        let (arriving, place) = (format!("{ARRIVING}{name}"), format!("{PACKS}{name}"));
        limited(self.operator.create_dir(ARRIVING)).await?;
        limited(self.operator.create_dir(PACKS)).await?;
        limited(self.operator.write(&arriving, bytes)).await?;
        limited(self.operator.rename(&arriving, &place)).await
    }

    /// Returns those packs that are not there.
    pub(crate) async fn missing(&self, packs: &[PackId]) -> Result<Vec<PackId>, StorageError> {
        let asked = stream::iter(packs.iter().copied()).map(|pack| async move {
            let found = limited(self.operator.stat(&path(&pack))).await;
            match found {
                Ok(_) => Ok(None),
                Err(StorageError::Gone) => Ok(Some(pack)),
                Err(error) => Err(error),
            }
        });
        asked.buffered(AT_ONCE).try_filter_map(|missing| async move { Ok(missing) }).try_collect().await
    }

    /// Deletes a pack; one that is gone already is no error.
    pub(crate) async fn delete(&self, pack: &PackId) -> Result<(), StorageError> {
        limited(self.operator.delete(&path(pack))).await
    }

    async fn sign_path(&self, path: &str) -> Result<Link, StorageError> {
        let signed = limited(self.operator.presign_read(path, LINK_LIFE)).await?;
        let link = Link::new(&signed.uri().to_string());
        link.ok_or_else(|| StorageError::Refused("the service's links are too long".to_owned()))
    }

    /// Signs a link to each pack.
    pub(crate) async fn sign_all(&self, packs: &[PackId]) -> Result<Vec<(PackId, Link)>, StorageError> {
        let signed = stream::iter(packs.iter().copied())
            .map(|pack| async move { Ok((pack, self.sign_path(&path(&pack)).await?)) });
        signed.buffered(AT_ONCE).try_collect().await
    }

    async fn try_link(&self, agent: &Agent, place: &str, bytes: &[u8]) -> Result<(), StorageError> {
        if !self.has_links() {
            return Ok(());
        }
        let link = self.sign_path(place).await?;
        let mut read = BytesMut::new();
        // No contact has this number.
        agent.network().read_link(0, &link, &mut read).await?;
        if read == bytes { Ok(()) } else { Err(StorageError::Damaged) }
    }

    /// Writes, reads, reads a part, has it read by a link as a contact would, and deletes.
    ///
    /// # Errors
    /// What the service does not do, and why, for people.
    pub(crate) async fn try_out(&self, agent: &Agent) -> Result<(), String> {
        let mut bytes = vec![0; TEST_BYTES];
        OsRng.fill_bytes(&mut bytes);
        let name = format!(
            "test-{}",
            HEXLOWER.encode(bytes.first_chunk::<16>().map_or(&[], |start| start.as_slice()))
        );
        let place = format!("{PACKS}{name}");
        let cannot = |what: &'static str| move |error: StorageError| format!("it does not {what}: {error}");
        self.write(&name, bytes.clone().into()).await.map_err(cannot("let us write"))?;
        let read = limited(self.operator.read(&place)).await.map_err(cannot("let us read"));
        let part = limited(self.operator.read_with(&place).range(1_000..2_000).into_future()).await;
        let linked = self.try_link(agent, &place, &bytes).await;
        // Whatever was wrong: nothing stays.
        let deleted = limited(self.operator.delete(&place)).await.map_err(cannot("let us delete"));
        let part = part.map_err(cannot("let us read parts"))?;
        deleted?;
        linked.map_err(cannot("let contacts fetch by links"))?;
        if read?.to_vec() != bytes || Some(part.to_vec().as_slice()) != bytes.get(1_000..2_000) {
            return Err("it returned something else than was stored".to_owned());
        }
        match limited(self.operator.stat(&place)).await {
            Err(StorageError::Gone) => Ok(()),
            Err(error) => Err(cannot("say what is there")(error)),
            Ok(_) => Err("it keeps what was deleted".to_owned()),
        }
    }
}

/// Packs at a service, on behalf of a transfer.
#[derive(Debug)]
pub(crate) struct ServiceDepot {
    agent: Agent,
    id: u64,
    place: u32,
    pub(super) objects: Objects,
}

impl ServiceDepot {
    /// Opens it; nobody is asked yet.
    ///
    /// # Errors
    /// [`StorageError::Refused`]: it cannot be used as it is set up.
    pub(super) fn of(agent: &Agent, service: &Service, id: u64) -> Result<Self, StorageError> {
        let objects = Objects::open(agent, service)?;
        Ok(Self { agent: agent.clone(), id, place: service.place(), objects })
    }

    pub(super) const fn place(&self) -> u32 {
        self.place
    }

    /// Does something, however long the service is away.
    pub(super) async fn patiently<T, F: Future<Output = Result<T, StorageError>> + Send>(
        &self,
        attempt: impl Fn() -> F + Send + Sync,
    ) -> Result<T, StorageError>
    where
        T: Send,
    {
        let mut patience = Patience::of(&self.agent, self.id);
        loop {
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => patience.wait(error).await?,
            }
        }
    }
}

fn object(pack: &PackId) -> String {
    HEXLOWER.encode(pack.as_bytes())
}

fn path(pack: &PackId) -> String {
    format!("{PACKS}{}", object(pack))
}

/// Secrets would be seen on an open line.
fn check_url(url: &str, may_be_private: bool) -> Result<(), StorageError> {
    let parsed = TargetUrl::parse(url, UrlPolicy::AllowPrivate);
    if parsed.is_ok() && (may_be_private || url.starts_with("https://")) {
        return Ok(());
    }
    Err(StorageError::Refused(format!(
        "{url} is no address of a service: it begins with https://, and has no user name, query or fragment in it"
    )))
}

/// What `ssh` gets is nothing that it could take for an option.
fn check_ssh(host: &str, user: &str, folder: &str, key: &str) -> Result<(), StorageError> {
    let refused = |what: &str| Err(StorageError::Refused(what.to_owned()));
    let is_plain = |text: &str| {
        !text.starts_with('-') && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:[]".contains(c))
    };
    if !host.strip_prefix("ssh://").is_some_and(|host| !host.is_empty() && is_plain(host)) {
        return refused("the host is ssh://HOST or ssh://HOST:PORT");
    }
    if !is_plain(user) {
        return refused("the user is the name of an account");
    }
    if !folder.starts_with('/') || !(key.is_empty() || key.starts_with('/')) {
        return refused("folder and key are absolute paths");
    }
    Ok(())
}

async fn limited<T>(operation: impl IntoFuture<Output = opendal::Result<T>>) -> Result<T, StorageError> {
    match timeout(LIMIT, operation.into_future()).await {
        Ok(done) => done.map_err(trouble),
        Err(_) => Err(StorageError::Unavailable {
            reason: "the service does not answer".to_owned(),
            retry_after: None,
        }),
    }
}

fn trouble(error: opendal::Error) -> StorageError {
    let refused = || {
        StorageError::Refused(
            "the service refuses the account, or does not let it do that: look at the name, the secret and its rights".to_owned(),
        )
    };
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
    if matches!(io, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) {
        return StorageError::Full;
    }
    match (error.kind(), status(&error)) {
        (_, Some(507)) => StorageError::Full,
        (ErrorKind::NotFound, _) => StorageError::Gone,
        (ErrorKind::PermissionDenied, _) | (_, Some(401 | 403)) => refused(),
        (ErrorKind::ConfigInvalid | ErrorKind::Unsupported, _) => StorageError::Refused(short(&error)),
        (_, Some(status)) => StorageError::Unavailable {
            reason: format!("the service answers with status {status}"),
            retry_after: None,
        },
        _ => StorageError::Unavailable { reason: short(&error), retry_after: None },
    }
}

/// The status of an HTTP answer: opendal has it among what it says for developers only.
fn status(error: &opendal::Error) -> Option<u16> {
    let text = error.to_string();
    let (_, rest) = text.split_once("status: ")?;
    rest.get(..3)?.parse().ok()
}

/// What happened, without the context: that may hold addresses that are signed.
fn short(error: &opendal::Error) -> String {
    let source = error.source().map(|source| format!(" ({source})")).unwrap_or_default();
    format!("{}{source}", error.message()).chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::records::services::StoredSecret;

    fn service(kind: ServiceKind, options: &[(&str, &str)], secret: Option<&str>) -> Service {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Service { id: 1, kind, options, secret: secret.map(|secret| StoredSecret::new(secret.to_owned())) }
    }

    #[test]
    fn what_is_missing_or_foreign_is_named() {
        use ServiceKind::{Fs, S3, Sftp, Webdav};
        let s3 = [("bucket", "b"), ("access_key_id", "k")];
        for (good, problem) in [
            (service(S3, &s3, Some("s")), None),
            (service(S3, &s3, None), Some("needs a secret access key")),
            (service(S3, &s3[..1], Some("s")), Some("needs the option access_key_id")),
            (
                service(S3, &[("bucket", ""), ("access_key_id", "k")], Some("s")),
                Some("needs the option bucket"),
            ),
            (service(S3, &[s3[0], s3[1], ("bukket", "x")], Some("s")), Some("no option bukket")),
            (service(Webdav, &[("url", "u")], None), None),
            (service(Webdav, &[("url", "u"), ("username", "n")], None), Some("needs a password")),
            (service(Webdav, &[("url", "u")], Some("s")), Some("takes no secret")),
            (service(Sftp, &[("host", "h"), ("user", "u"), ("folder", "f")], None), None),
            (service(Sftp, &[("host", "h"), ("folder", "f")], None), Some("needs the option user")),
            (service(Fs, &[("path", "p")], None), None),
        ] {
            match (check(&good), problem) {
                (Ok(()), None) => {}
                (Err(said), Some(problem)) => assert!(said.contains(problem), "{said}"),
                (said, _) => panic!("{good:?}: {said:?}"),
            }
            assert!(!format!("{good:?}").contains("\"s\""));
        }
    }

    #[test]
    fn nothing_is_taken_for_an_option_of_ssh() {
        assert_eq!(check_ssh("ssh://nas.example.org:2222", "ann", "/srv", "/home/ann/key"), Ok(()));
        assert_eq!(check_ssh("ssh://[fe80::1]", "ann_b", "/srv", ""), Ok(()));
        for (host, user, folder, key) in [
            ("nas", "ann", "/srv", ""),
            ("ssh://", "ann", "/srv", ""),
            ("ssh://-oProxyCommand=x", "ann", "/srv", ""),
            ("ssh://nas -v", "ann", "/srv", ""),
            ("ssh://nas", "-l", "/srv", ""),
            ("ssh://nas", "ann@x", "/srv", ""),
            ("ssh://nas", "ann", "srv", ""),
            ("ssh://nas", "ann", "/srv", "-oX"),
        ] {
            assert!(check_ssh(host, user, folder, key).is_err(), "{host} {user} {folder} {key}");
        }
    }

    #[test]
    fn secrets_do_not_go_over_an_open_line() {
        for (url, may_be_private, is_good) in [
            ("https://dav.example.org/files", false, true),
            ("https://192.168.0.2/files", false, true),
            ("http://192.168.0.2/files", false, false),
            ("http://192.168.0.2/files", true, true),
            ("http://1.1.1.1/files", true, false),
            ("ftp://dav.example.org/files", true, false),
            ("https://ann:secret@dav.example.org/files", true, false),
        ] {
            assert_eq!(check_url(url, may_be_private).is_ok(), is_good, "{url}");
        }
    }
}
