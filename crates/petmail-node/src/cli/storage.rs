//! `storage list|add|test|remove`.

use std::{collections::BTreeMap, env, fs::File, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use petmail_mailbox::size::ByteSize;
use petmail_net::program::Failure;
use petmail_objects::ServiceKind;
use petmail_proto::server::offer::OFFER_PREFIX;
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    block_on,
    client::Client,
    mailboxes::{MAX_OFFER_BYTES, is_offer, redeem},
    passphrase::{can_ask, read_line},
    send::argument_or_stdin,
    terminal::{note, print, print_json_lines, table},
};
use crate::{
    api::types::{
        AddServiceRequest, ChangeServiceRequest, RemoveServiceRequest, SecretText, ServiceRequest,
        ServiceView, StorageView,
    },
    basedir::Basedir,
};

/// Where a program may find the secret, so that a script need not write it down.
const SECRET_VARIABLE: &str = "PETMAIL_STORAGE_SECRET";

/// See and choose where files are stored
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  petmail-node -d n1 storage list\n  \
    petmail-node -d n1 storage add s3 --opt endpoint=https://s3.example.com --opt bucket=petmail --opt access_key_id=AK123")]
pub(super) enum Storage {
    List(List),
    Add(Add),
    Change(Change),
    Test(Test),
    Remove(Remove),
}

/// List the storage that comes with your mailboxes, with how much of it is used, and the services that you have added
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  petmail-node -d n1 storage list\n  petmail-node -d n1 storage list --json"
)]
pub(super) struct List {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Add storage: by the offer of a server, or a service of your own, which is tried out first
#[derive(Debug, Args)]
#[command(
    after_help = "Files are encrypted before they go there. Contacts can fetch from a server that you have an offer of, and from S3, there by links that your node renews when they are asked for; \
    the others are for yourself alone, and files for contacts never go there.\n\n\
    Options: s3: bucket, access_key_id, endpoint, region, prefix. webdav: url, username. sftp: host (ssh://HOST), user, folder, key, known_hosts. fs: path.\n\
    The secret access key or password is asked for; scripts give it with --secret-file, or in the variable PETMAIL_STORAGE_SECRET.\n\n\
    Examples:\n  petmail-node -d n1 storage add - < offer.txt\n  petmail-node -d n1 storage add s3 --opt endpoint=https://s3.example.com --opt bucket=petmail --opt access_key_id=AK123\n  \
    petmail-node -d n1 storage add webdav --opt url=https://cloud.example.com/dav/petmail --opt username=ann\n  \
    petmail-node -d n1 storage add sftp --opt host=ssh://nas.example.com --opt user=ann --opt folder=/srv/petmail\n  \
    petmail-node -d n1 storage add fs --opt path=/mnt/usb/petmail"
)]
pub(super) struct Add {
    /// An offer, as the server's operator gave it (`-` reads it from standard input), or how the service is spoken with: s3, webdav, sftp, fs
    #[arg(value_name = "OFFER-OR-KIND")]
    what: String,
    /// Where it is, and how it is used; may be given several times
    #[arg(long = "opt", value_name = "KEY=VALUE", value_parser = parse_option)]
    options: Vec<(String, String)>,
    /// Read the secret access key or password from the first line of this file
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

/// Give a service another account, such as a new key; what is stored there has to stay within reach
#[derive(Debug, Args)]
#[command(
    after_help = "It is tried out before it is kept. The new secret is asked for; scripts give it with --secret-file, or in the variable PETMAIL_STORAGE_SECRET.\n\n\
    Examples:\n  petmail-node -d n1 storage change 1\n  petmail-node -d n1 storage change 1 --opt access_key_id=AK456"
)]
pub(super) struct Change {
    /// The service, as `storage list` shows it
    id: u32,
    /// What changes of where it is and how it is used; may be given several times
    #[arg(long = "opt", value_name = "KEY=VALUE", value_parser = parse_option)]
    options: Vec<(String, String)>,
    /// Read the new secret access key or password from the first line of this file
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

/// Write to a service, read, and delete
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  petmail-node -d n1 storage test 1")]
pub(super) struct Test {
    /// The service, as `storage list` shows it
    id: u32,
}

/// Forget a service, with its secret; what is stored there stays
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  petmail-node -d n1 storage remove 1")]
pub(super) struct Remove {
    /// The service, as `storage list` shows it
    id: u32,
    /// Also if files that you have sent are stored there
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Amazon S3, or one of the many that speak its protocol
    S3,
    /// A WebDAV folder
    Webdav,
    /// A folder on a machine that you can log in to with ssh
    Sftp,
    /// A folder of this machine, or one that is mounted here
    Fs,
}

impl From<Kind> for ServiceKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::S3 => Self::S3,
            Kind::Webdav => Self::Webdav,
            Kind::Sftp => Self::Sftp,
            Kind::Fs => Self::Fs,
        }
    }
}

/// The answer to `storage`.
#[derive(Debug, Deserialize)]
struct Listed {
    storage: Vec<StorageView>,
    services: Vec<ServiceView>,
}

impl Storage {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(basedir),
            Self::Add(add) => add.run(basedir),
            Self::Change(change) => change.run(basedir),
            Self::Test(Test { id }) => {
                let tested = block_on(async {
                    Client::find(basedir)?.call("storage/test", &ServiceRequest { id }).await
                })?;
                print(&describe("works", &tested))
            }
            Self::Remove(Remove { id, force }) => {
                let request = RemoveServiceRequest { id, force };
                block_on(async { Client::find(basedir)?.call::<Value>("storage/remove", &request).await })?;
                print(&format!("service {id} is forgotten; what is stored there stays\n"))
            }
        }
    }
}

impl List {
    fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let Listed { storage, services } = block_on(async { Client::find(basedir)?.ask("storage").await })?;
        if self.json {
            print_json_lines(&storage)?;
            return print_json_lines(&services);
        }
        if storage.is_empty() && services.is_empty() {
            note(
                "no storage; the operator of your mailbox server gives it with `petmail-mailbox account set --storage-quota`, \
                 and `storage add` adds a service of your own",
            );
            return Ok(());
        }
        if !storage.is_empty() {
            let rows: Vec<_> = storage.iter().map(row).collect();
            print(&table(["MAILBOX", "USED", "QUOTA", "URL", "REMARK"], &rows))?;
        }
        if !services.is_empty() {
            let rows: Vec<_> = services.iter().map(service_row).collect();
            print(&table(["SERVICE", "KIND", "FOR", "ADDRESS", "REMARK"], &rows))?;
        }
        Ok(())
    }
}

impl Add {
    fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let kind = match Kind::from_str(&self.what, true) {
            Ok(kind) => ServiceKind::from(kind),
            Err(_) => return self.redeem(basedir),
        };
        let options = collect(self.options)?;
        let client = Client::find(basedir)?;
        let secret = match kind.secret(&options) {
            Some(what) => Some(SecretText::new(&read_secret(what, self.secret_file)?)),
            None => None,
        };
        let request = AddServiceRequest { kind, options, secret };
        let added = block_on(async { client.call("storage/add", &request).await })?;
        print(&describe("is added", &added))
    }
}

impl Change {
    fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let (id, options) = (self.id, collect(self.options)?);
        let client = Client::find(basedir)?;
        let Listed { services, .. } = block_on(async { client.ask("storage").await })?;
        let service = services.into_iter().find(|service| service.id == id).ok_or_else(|| {
            Failure::failed(format!("there is no service {id}"))
                .hint("`storage list` shows those that there are")
        })?;
        let kind = Kind::from_str(&service.kind, true).map(ServiceKind::from);
        let secret = match kind.ok().and_then(ServiceKind::possible_secret) {
            Some(what) => read_new_secret(what, self.secret_file)?,
            None => None,
        };
        if options.is_empty() && secret.is_none() {
            return Err(Failure::usage("nothing is to be changed")
                .hint(format!("give --opt, --secret-file, or the variable {SECRET_VARIABLE}")));
        }
        let request = ChangeServiceRequest { id, options, secret: secret.map(|text| SecretText::new(&text)) };
        let changed = block_on(async { client.call("storage/change", &request).await })?;
        print(&describe("is changed", &changed))
    }
}

impl Add {
    fn redeem(self, basedir: &Basedir) -> Result<(), Failure> {
        let offer = argument_or_stdin(self.what, MAX_OFFER_BYTES)?;
        if !is_offer(&offer) {
            return Err(Failure::usage("this is neither an offer nor a kind of service").hint(format!(
                "an offer begins with {OFFER_PREFIX}; the kinds are s3, webdav, sftp and fs"
            )));
        }
        if !self.options.is_empty() || self.secret_file.is_some() {
            return Err(Failure::usage("an offer needs no options and no secret").hint("leave them out"));
        }
        let id = redeem(basedir, offer)?;
        let Listed { storage, .. } = block_on(async { Client::find(basedir)?.ask("storage").await })?;
        if storage.iter().all(|place| place.mailbox != id) {
            note("note: this offer brings a mailbox and no storage; ask its operator for some");
        }
        Ok(())
    }
}

fn describe(what: &str, service: &ServiceView) -> String {
    let whose = if service.has_links {
        "large files for contacts go there when no server of a mailbox has room"
    } else {
        "it is for yourself alone: contacts cannot fetch from there, and files for them do not go there"
    };
    format!("service {} at {} {what}\n{whose}\n", service.id, service.address)
}

/// Makes a map of options, and refuses secrets among them.
fn collect(given: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Failure> {
    let mut options = BTreeMap::new();
    for (name, value) in given {
        // The node has a working folder of its own.
        let value = match name.as_str() {
            "key" | "path" => absolute(&value)?,
            _ => value,
        };
        if name.contains("secret") || name.contains("password") {
            return Err(Failure::failed(format!("{name} is no option: other users would see it"))
                .hint("leave it out, and it is asked for; or use --secret-file FILE"));
        }
        if options.insert(name.clone(), value).is_some() {
            return Err(Failure::failed(format!("the option {name} is given twice")).hint("give it once"));
        }
    }
    Ok(options)
}

fn absolute(path: &str) -> Result<String, Failure> {
    let absolute = std::path::absolute(path).ok().and_then(|path| path.into_os_string().into_string().ok());
    absolute.ok_or_else(|| Failure::failed(format!("{path} is no usable path")).hint("name it in UTF-8"))
}

fn parse_option(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

/// Reads a secret: from a file, the environment, or the terminal.
fn read_secret(what: &str, file: Option<PathBuf>) -> Result<Zeroizing<String>, Failure> {
    let secret = if let Some(path) = file {
        let line = File::open(&path).and_then(|mut file| read_line(&mut file));
        line.map_err(|error| {
            Failure::failed(format!("cannot read the {what} from {}: {error}", path.display()))
        })?
    } else if let Ok(secret) = env::var(SECRET_VARIABLE) {
        Zeroizing::new(secret)
    } else if can_ask() {
        ask(&format!("The {what}: "), what)?
    } else {
        return Err(Failure::failed(format!("a {what} is needed, and there is no terminal to ask for it"))
            .hint(format!("use --secret-file FILE, or the variable {SECRET_VARIABLE}")));
    };
    if secret.is_empty() { Err(Failure::failed(format!("the {what} is empty"))) } else { Ok(secret) }
}

/// Reads a secret that replaces another; none if that stays.
fn read_new_secret(what: &str, file: Option<PathBuf>) -> Result<Option<Zeroizing<String>>, Failure> {
    if file.is_some() || env::var_os(SECRET_VARIABLE).is_some() {
        return read_secret(what, file).map(Some);
    }
    if !can_ask() {
        return Ok(None);
    }
    let asked = ask(&format!("The new {what} (nothing, if it stays as it is): "), what)?;
    Ok(Some(asked).filter(|secret| !secret.is_empty()))
}

fn ask(question: &str, what: &str) -> Result<Zeroizing<String>, Failure> {
    let asked = rpassword::prompt_password(question);
    Ok(Zeroizing::new(asked.map_err(|error| Failure::failed(format!("cannot ask for the {what}: {error}")))?))
}

fn service_row(service: &ServiceView) -> [String; 5] {
    [
        service.id.to_string(),
        service.kind.clone(),
        if service.has_links { "contacts" } else { "yourself" }.to_owned(),
        service.address.clone(),
        service.reason.clone().unwrap_or_default(),
    ]
}

fn row(place: &StorageView) -> [String; 5] {
    let known =
        |bytes: u64| if place.reason.is_some() { "?".to_owned() } else { ByteSize(bytes).to_string() };
    let (used, quota) = (known(place.used_bytes), known(place.quota_bytes));
    [place.mailbox.to_string(), used, quota, place.url.clone(), place.reason.clone().unwrap_or_default()]
}
