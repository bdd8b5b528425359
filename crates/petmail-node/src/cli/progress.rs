//! Progress bars on a terminal; nothing elsewhere.

use std::collections::BTreeMap;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::terminal::one_line;
use crate::api::types::{FileRow, FileState};

/// How a line looks.
const LINE: &str = "{msg:30!} {wide_bar} {bytes:>10} of {total_bytes:>10} {prefix}";

/// A line for each file on its way.
#[derive(Debug, Default)]
pub(super) struct Progress {
    all: MultiProgress,
    lines: BTreeMap<u64, ProgressBar>,
}

impl Progress {
    /// Shows how far a file is; one that is not on its way has no line.
    pub(super) fn show(&mut self, row: &FileRow) {
        let is_on_its_way = matches!(row.file.state, FileState::Uploading | FileState::Fetching);
        if !is_on_its_way {
            if let Some(line) = self.lines.remove(&row.id) {
                line.finish_and_clear();
            }
            return;
        }
        let line = self.lines.entry(row.id).or_insert_with(|| {
            let style = ProgressStyle::with_template(LINE).unwrap_or_else(|_| ProgressStyle::default_bar());
            self.all.add(ProgressBar::new(row.file.size).with_style(style))
        });
        line.set_message(one_line(&row.file.name));
        line.set_position(row.file.done.unwrap_or_default());
        line.set_prefix(remark(row));
    }
}

/// What is worth knowing beside how much has gone.
pub(super) fn remark(row: &FileRow) -> String {
    if let Some(reason) = &row.file.reason {
        return one_line(reason);
    }
    let rate = row.file.rate.map(|rate| format!("{}/s", super::terminal::size(rate)));
    let left = row.file.seconds_left.map(|seconds| format!("{} left", duration(seconds)));
    rate.into_iter().chain(left).collect::<Vec<_>>().join(", ")
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}
