//! `export` and `import`: to and from a file, or standard output and input.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use petmail_net::program::Failure;
use petmail_store::EngineKind;

use super::print;
use crate::{
    basedir::Basedir,
    packs::claims_service,
    transfer::{TransferError, Transferred, export, file::FileError, import},
};

/// Stands for standard output or input.
const STREAM: &str = "-";

const WARNING: &str = "it holds the server's secret keys: keep it as safe as the server, and do not start this one again where another \
    was made of it";

pub(super) async fn run_export(basedir: &Basedir, path: &Path) -> Result<(), Failure> {
    if path == Path::new(STREAM) {
        let (transferred, _) = export(basedir, BufWriter::new(io::stdout())).await.map_err(explain)?;
        return remark(format_args!("exported {}\n{WARNING}\n{}", text(&transferred), left_behind(basedir)));
    }
    if path.exists() {
        return Err(
            Failure::failed(format_args!("{} exists already", path.display())).hint("name another file")
        );
    }
    let unfinished = unfinished(path)?;
    let written = write_file(basedir, path, &unfinished).await;
    if written.is_err() {
        drop(std::fs::remove_file(&unfinished));
    }
    let transferred = written?;
    let (done, left_behind) = (text(&transferred), left_behind(basedir));
    print(format_args!("exported {done} to {}\n{WARNING}\n{left_behind}", path.display()))
}

pub(super) async fn run_import(
    basedir: &Basedir,
    path: &Path,
    engine: Option<EngineKind>,
) -> Result<(), Failure> {
    let imported = if path == Path::new(STREAM) {
        import(basedir, io::stdin(), engine).await
    } else {
        let file = File::open(path);
        let file =
            file.map_err(|error| Failure::failed(format_args!("cannot read {}: {error}", path.display())))?;
        import(basedir, BufReader::new(file), engine).await
    };
    let transferred = imported.map_err(explain)?;
    print(format_args!(
        "imported {} into {}\nconfig.toml and certificates from elsewhere do not travel along: copy what you need\n",
        text(&transferred),
        basedir.path().display()
    ))
}

async fn write_file(basedir: &Basedir, path: &Path, unfinished: &Path) -> Result<Transferred, Failure> {
    let failed = |error: io::Error| Failure::failed(format_args!("cannot write {}: {error}", path.display()));
    let mut options = OpenOptions::new();
    let file =
        options.write(true).create(true).truncate(true).mode(0o600).open(unfinished).map_err(failed)?;
    let (transferred, sink) = export(basedir, BufWriter::new(file)).await.map_err(explain)?;
    let file = sink.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().and_then(|()| std::fs::rename(unfinished, path)).map_err(failed)?;
    Ok(transferred)
}

/// What an export does not have: packs may be a thousand times as much as messages.
fn left_behind(basedir: &Basedir) -> String {
    let dir = basedir.packs_dir();
    if claims_service(&dir) || holds_packs(&dir).unwrap_or(false) {
        format!("stored packs are not in it: copy the folder {} as well\n", dir.display())
    } else {
        String::new()
    }
}

fn holds_packs(dir: &Path) -> io::Result<bool> {
    for folder in std::fs::read_dir(dir.join("files"))? {
        if std::fs::read_dir(folder?.path())?.next().is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The name of the file until it is whole.
fn unfinished(path: &Path) -> Result<PathBuf, Failure> {
    let mut name = path.file_name().ok_or_else(|| Failure::usage("the file has no name"))?.to_owned();
    name.push(".unfinished");
    Ok(path.with_file_name(name))
}

fn explain(error: TransferError) -> Failure {
    let hint = match &error {
        TransferError::NotInitialised(_) => "choose the server's folder with -d",
        TransferError::NotEmpty(_) => {
            "choose another folder with -d: an import makes a server, and changes none"
        }
        TransferError::Lock(_) => "stop the server first: what it takes in later would be missing",
        TransferError::File(FileError::Newer) => {
            "use a petmail-mailbox that is as new as the one that wrote it"
        }
        TransferError::File(FileError::Foreign) => "name a file that `petmail-mailbox export` wrote",
        TransferError::File(FileError::Truncated | FileError::Damaged) => "copy it again, or export again",
        TransferError::Queue(_) | TransferError::Open(_) | TransferError::Identity(_) => {
            "`petmail-mailbox check` says more; is the disk full?"
        }
        _ => return Failure::failed(error),
    };
    Failure::failed(error).hint(hint)
}

fn text(transferred: &Transferred) -> String {
    let Transferred { accounts, offers, messages } = transferred;
    format!("{accounts} accounts, {offers} offers and {messages} messages")
}

/// Standard output has the export.
fn remark(text: impl std::fmt::Display) -> Result<(), Failure> {
    write!(io::stderr().lock(), "{text}").map_err(Failure::failed)
}
