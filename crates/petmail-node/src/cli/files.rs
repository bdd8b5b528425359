//! `send-file`, `files`, `save-file`.

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
    client::Client,
    send::{WaitFor, wait_until},
    terminal::{note, print, print_json_lines, size, table},
};
use crate::{
    api::types::{Direction, FileRequest, FileRow, FileState, FilesQuery, MessageView, SendFileRequest},
    basedir::Basedir,
    file_name::numbered,
};

/// How many files of one name a folder may have before it is somebody else's turn.
const MOST_OF_A_NAME: u32 = 1_000;

/// Send files to a contact
#[derive(Debug, Args)]
#[command(
    after_help = "Each file is a message of its own, of at most 180 KiB; prints their numbers once they are safe in the outbox.\n\n\
        Examples:\n  petmail-node -d n1 send-file 1 photo.jpg\n  \
        petmail-node -d n1 send-file 1 *.pdf --wait delivered"
)]
pub(super) struct SendFile {
    /// The contact's number
    cid: u32,
    /// The files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Return only once all are so far
    #[arg(long, value_enum, value_name = "STATE")]
    wait: Option<WaitFor>,
}

/// List the files that messages have brought, the newest first
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

/// Save the file that a message has brought
#[derive(Debug, Args)]
#[command(
    after_help = "Prints where the file is. Nothing is ever replaced: a second file of a name gets a number.\n\n\
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

impl SendFile {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let absolute = |path: &PathBuf| std::path::absolute(path).map_err(Failure::failed).and_then(text_of);
        // A path that cannot be sent is found before anything is.
        let paths = self.paths.iter().map(absolute).collect::<Result<Vec<_>, _>>()?;
        block_on(async {
            let client = Client::find(basedir)?;
            let mut events = match self.wait {
                Some(_) => Some(client.events().await?),
                None => None,
            };
            let mut sent = Vec::new();
            for path in paths {
                let request = SendFileRequest { cid: self.cid, path: Some(path), name: None, content: None };
                let message: MessageView = client.call("send-file", &request).await?;
                print(&format!("{}\n", message.id))?;
                sent.push(message);
            }
            if let (Some(wait), Some(events)) = (self.wait, &mut events) {
                wait_until(wait, &client, events, sent).await?;
            }
            Ok(())
        })
    }
}

fn text_of(path: PathBuf) -> Result<String, Failure> {
    path.into_os_string().into_string().map_err(|path| {
        Failure::failed(format!("the path {} is no UTF-8", path.display())).hint("rename the file")
    })
}

impl Files {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let query = FilesQuery { cid: self.cid, id: None };
        let Listed { files } = block_on(async { Client::find(basedir)?.call("files", &query).await })?;
        if self.json {
            return print_json_lines(&files);
        }
        if files.is_empty() {
            note("no files yet; `send-file` sends one");
            return Ok(());
        }
        let rows: Vec<_> = files.iter().map(row).collect();
        print(&table(["ID", "CID", "WAY", "SIZE", "STATE", "NAME"], &rows))
    }
}

fn row(row: &FileRow) -> [String; 6] {
    let way = match row.direction {
        Direction::In => "in",
        Direction::Out => "out",
    };
    let state = match row.file.state {
        FileState::Here => "here",
    };
    let (id, cid) = (row.id.to_string(), row.cid.to_string());
    [id, cid, way.to_owned(), size(row.file.size), state.to_owned(), row.file.name.clone()]
}

impl SaveFile {
    pub(super) fn run(self, basedir: &Basedir, mode: u32) -> Result<(), Failure> {
        block_on(async {
            let client = Client::find(basedir)?;
            let query = FilesQuery { cid: None, id: Some(self.id) };
            let Listed { files } = client.call("files", &query).await?;
            let Some(row) = files.into_iter().next() else {
                let problem = format!("message {} brings no file", self.id);
                return Err(Failure::failed(problem).hint("`files` lists those that do"));
            };
            let target = self.to.unwrap_or_else(|| PathBuf::from("."));
            let (folder, names) = Names::of(&target, &row.file.name)?;
            let mut file = temporary(&folder, mode).map_err(|error| cannot(&folder, &error))?;
            let mut answer = client.download("file", &FileRequest { id: self.id }).await?;
            let broken = |error| Failure::failed(format!("the node broke off: {error}")).hint("try again");
            while let Some(piece) = answer.chunk().await.map_err(broken)? {
                file.write_all(&piece).map_err(|error| cannot(&folder, &error))?;
            }
            file.as_file().sync_all().map_err(|error| cannot(&folder, &error))?;
            let path = put(file, &folder, names).map_err(|error| cannot(&folder, &error))?;
            print(&format!("{}\n", path.display()))
        })
    }
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
