//! `files`, `save-file`.

use std::{
    fs::Permissions,
    io::{self, ErrorKind, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use clap::Args;
use petmail_net::program::Failure;
use serde::Deserialize;
use tempfile::NamedTempFile;

use super::{
    block_on,
    client::{Client, Events},
    progress::{Progress, remark},
    terminal::{local_time, note, one_line, print, print_json_lines, size, table},
};
use crate::{
    api::types::{Direction, Event, FetchFileRequest, FileKind, FileRequest, FileRow, FileState, FilesQuery},
    basedir::Basedir,
    file_name::numbered,
};

/// How many files of one name a folder may have before it is somebody else's turn.
const MOST_OF_A_NAME: u32 = 1_000;

/// List files: those on their way, and those that messages have brought, the newest first
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  petmail-node -d n1 files\n  petmail-node -d n1 files --json --cid 1")]
pub(super) struct Files {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// Only this contact's
    #[arg(long)]
    cid: Option<u32>,
}

/// Save the file, or folder, that a message has brought
#[derive(Debug, Args)]
#[command(
    after_help = "Fetches the file from its storage server if it is there, and prints where it is then. Nothing is ever replaced: a \
        second file of a name gets a number. Interrupted, the node goes on; `pause` and `cancel` stop it.\n\n\
        Examples:\n  petmail-node -d n1 save-file 17\n  petmail-node -d n1 save-file 17 --to ~/Downloads"
)]
pub(super) struct SaveFile {
    /// The message's number
    id: u64,
    /// A folder, or the new file itself [default: the current folder]
    #[arg(long, value_name = "PATH")]
    to: Option<PathBuf>,
}

/// The answer to `files`.
#[derive(Debug, Deserialize)]
struct Listed {
    files: Vec<FileRow>,
}

impl Files {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let query = FilesQuery { cid: self.cid, ..FilesQuery::default() };
        let Listed { files } = block_on(async { Client::find(basedir)?.call("files", &query).await })?;
        if self.json {
            return print_json_lines(&files);
        }
        if files.is_empty() {
            note("no files yet; `send-file` sends one");
            return Ok(());
        }
        let rows: Vec<_> = files.iter().map(row).collect();
        print(&table(["ID", "CID", "WAY", "SIZE", "STATE", "NAME", "REMARK"], &rows))
    }
}

fn row(row: &FileRow) -> [String; 7] {
    let way = match row.direction {
        Direction::In => "in",
        Direction::Out => "out",
    };
    let (id, cid) = (row.id.to_string(), row.cid.to_string());
    let (state, bytes) = (state(row.file.state).to_owned(), size(row.file.size));
    [id, cid, way.to_owned(), bytes, state, row.file.name.clone(), about(row)]
}

pub(super) const fn state(state: FileState) -> &'static str {
    match state {
        FileState::Here => "here",
        FileState::Uploading => "uploading",
        FileState::Stored => "stored",
        FileState::Fetched => "fetched",
        FileState::Offered => "offered",
        FileState::Fetching => "fetching",
        FileState::Paused => "paused",
        FileState::Failed => "failed",
        FileState::Saved => "saved",
        FileState::Gone => "gone",
    }
}

/// What else there is to say of a file.
fn about(row: &FileRow) -> String {
    let file = &row.file;
    let part = file.done.filter(|_| file.size > 0).map(|done| {
        let percent = u128::from(done).saturating_mul(100).checked_div(file.size.into()).unwrap_or_default();
        format!("{percent} %")
    });
    let folder = (file.kind == FileKind::Folder).then(|| format!("folder of {} files", file.count));
    let going = Some(remark(row)).filter(|remark| !remark.is_empty());
    let until = match file.state {
        FileState::Stored | FileState::Offered => {
            file.until.map(|until| format!("until {}", local_time(until)))
        }
        _ => None,
    };
    folder
        .into_iter()
        .chain(part)
        .chain(going)
        .chain(file.path.clone())
        .chain(until)
        .collect::<Vec<_>>()
        .join(", ")
}

impl SaveFile {
    pub(super) fn run(self, basedir: &Basedir, mode: u32) -> Result<(), Failure> {
        let target = self.to.unwrap_or_else(|| PathBuf::from("."));
        block_on(async {
            let client = Client::find(basedir)?;
            let row = find(&client, self.id).await?.ok_or_else(|| {
                let problem = format!("message {} brings no file", self.id);
                Failure::failed(problem).hint("`files` lists those that do")
            })?;
            let path = match row.file.state {
                FileState::Here => save_inline(&client, &row, &target, mode).await?,
                _ => fetch(&client, &row, &target, mode).await?,
            };
            print(&format!("{}\n", path.display()))
        })
    }
}

/// Asks for one file.
pub(super) async fn find(client: &Client, id: u64) -> Result<Option<FileRow>, Failure> {
    let Listed { files } =
        client.call("files", &FilesQuery { id: Some(id), ..FilesQuery::default() }).await?;
    Ok(files.into_iter().next())
}

/// Has the node fetch a file, and waits until it is in its place.
async fn fetch(client: &Client, row: &FileRow, target: &Path, mode: u32) -> Result<PathBuf, Failure> {
    let to = std::path::absolute(target).map_err(Failure::failed).and_then(text_of)?;
    // First the stream, then the request: no change can be missed.
    let mut events = client.events().await?;
    let request = FetchFileRequest { id: row.id, to: Some(to), mode: Some(mode & 0o666) };
    let mut row: FileRow = client.call("fetch-file", &request).await?;
    let mut progress = Progress::default();
    loop {
        progress.show(&row);
        match (row.file.state, row.file.path) {
            (FileState::Saved | FileState::Stored | FileState::Fetched, Some(path)) => return Ok(path.into()),
            (FileState::Failed, _) => {
                let reason = row.file.reason.as_deref().map(one_line).unwrap_or_default();
                return Err(Failure::failed(format!(
                    "the file of message {} was not saved: {reason}",
                    row.id
                ))
                .hint(format!("`resume {}` goes on", row.id)));
            }
            (FileState::Paused, _) => {
                return Err(Failure::failed(format!("the file of message {} is paused", row.id))
                    .hint(format!("`resume {}` goes on", row.id)));
            }
            _ => {}
        }
        row = next(client, &mut events, row.id).await?;
    }
}

/// Waits for the next that is heard of a file.
async fn next(client: &Client, events: &mut Events, id: u64) -> Result<FileRow, Failure> {
    loop {
        match events.next().await? {
            Event::File(row) if row.id == id => return Ok(row),
            Event::Lagged => {
                if let Some(row) = find(client, id).await? {
                    return Ok(row);
                }
                return Err(gone(id));
            }
            Event::FileRemoved { id: removed } if removed == id => return Err(gone(id)),
            _ => {}
        }
    }
}

pub(super) fn gone(id: u64) -> Failure {
    Failure::failed(format!("file {id} was cancelled, or its contact removed"))
        .hint("`files` lists what there is")
}

pub(super) fn text_of(path: PathBuf) -> Result<String, Failure> {
    path.into_os_string().into_string().map_err(|path| {
        Failure::failed(format!("the path {} is no UTF-8", path.display())).hint("rename the file")
    })
}

/// Saves a file that the node has.
async fn save_inline(client: &Client, row: &FileRow, target: &Path, mode: u32) -> Result<PathBuf, Failure> {
    let (folder, names) = Names::of(target, &row.file.name)?;
    let mut file = temporary(&folder, mode).map_err(|error| cannot(&folder, &error))?;
    let mut answer = client.download("file", &FileRequest { id: row.id }).await?;
    let broken = |error| Failure::failed(format!("the node broke off: {error}")).hint("try again");
    while let Some(piece) = answer.chunk().await.map_err(broken)? {
        file.write_all(&piece).map_err(|error| cannot(&folder, &error))?;
    }
    file.as_file().sync_all().map_err(|error| cannot(&folder, &error))?;
    put(file, &folder, names).map_err(|error| cannot(&folder, &error))
}

/// What a saved file may be called, in turn.
enum Names {
    /// As the caller said, or not at all.
    Only(PathBuf),
    /// As it is called, or with a number.
    Like(String),
}

impl Names {
    /// Returns the folder that the file will be in.
    fn of(target: &Path, name: &str) -> Result<(PathBuf, Self), Failure> {
        if target.is_dir() {
            return Ok((target.to_owned(), Self::Like(name.to_owned())));
        }
        if std::fs::symlink_metadata(target).is_ok() {
            return Err(taken(target));
        }
        let folder =
            target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if target.file_name().is_none() || !folder.is_dir() {
            let problem = format!("there is no folder {}", folder.display());
            return Err(Failure::failed(problem).hint("make it, or name another with --to"));
        }
        Ok((folder.to_owned(), Self::Only(target.to_owned())))
    }
}

fn temporary(folder: &Path, mode: u32) -> io::Result<NamedTempFile> {
    let file = tempfile::Builder::new().prefix(".petmail-").suffix(".part").tempfile_in(folder)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

/// Gives the complete file its name. Nothing that is there is replaced, whoever makes it meanwhile.
fn put(mut file: NamedTempFile, folder: &Path, names: Names) -> io::Result<PathBuf> {
    for number in 1..=MOST_OF_A_NAME {
        let path = match &names {
            Names::Only(path) => path.clone(),
            Names::Like(name) if number == 1 => folder.join(name),
            Names::Like(name) => folder.join(numbered(name, number)),
        };
        match file.persist_noclobber(&path) {
            Ok(_) => {
                std::fs::File::open(folder)?.sync_all()?;
                return Ok(path);
            }
            Err(refused)
                if refused.error.kind() == ErrorKind::AlreadyExists && matches!(names, Names::Like(_)) =>
            {
                file = refused.file;
            }
            Err(refused) => return Err(refused.error),
        }
    }
    Err(io::Error::new(ErrorKind::AlreadyExists, "there are too many files of this name"))
}

fn taken(path: &Path) -> Failure {
    Failure::failed(format!("{} is there already", path.display()))
        .hint("name another file, or a folder, with --to")
}

fn cannot(folder: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot save in {}: {error}", folder.display()))
        .hint("name another folder with --to")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(target: &Path, name: &str, content: &str) -> Result<PathBuf, String> {
        let (folder, names) = Names::of(target, name).map_err(|failure| failure.to_string())?;
        let mut file = temporary(&folder, 0o640).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        put(file, &folder, names).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_replaced_and_nothing_half_written_stays() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        assert_eq!(saved(folder, "a.txt", "one").unwrap(), folder.join("a.txt"));
        assert_eq!(saved(folder, "a.txt", "two").unwrap(), folder.join("a (2).txt"));
        std::os::unix::fs::symlink("/nowhere", folder.join("link")).unwrap();
        assert_eq!(saved(folder, "link", "three").unwrap(), folder.join("link (2)"));
        assert_eq!(saved(&folder.join("new.txt"), "a.txt", "four").unwrap(), folder.join("new.txt"));
        for taken in ["new.txt", "link"] {
            assert!(saved(&folder.join(taken), "a.txt", "five").unwrap_err().contains("there already"));
        }
        assert!(saved(&folder.join("no/such"), "a.txt", "six").unwrap_err().contains("no folder"));
        let mode = std::fs::metadata(folder.join("a.txt")).unwrap().permissions().mode();
        assert_eq!(
            (mode & 0o777, std::fs::read_to_string(folder.join("a.txt")).unwrap()),
            (0o640, "one".to_owned())
        );
        let mut names: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a (2).txt", "a.txt", "link", "link (2)", "new.txt"]);
    }
}
