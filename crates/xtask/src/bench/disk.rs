//! What the disk can do at most: one flush after the other, and a flush shared by many writers.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use anyhow::{Context, Result, anyhow};

use super::figures::{Load, Times};
use super::machine::now;

const RECORD: [u8; 1024] = [7; 1024];
const FLUSHES: usize = 1_000;
const WRITERS: usize = 64;
const DURATION: Duration = Duration::from_secs(3);

/// Tells the writer of a record that it is on disk.
type Written = SyncSender<()>;

/// Measures how long it takes to append 1 KiB and flush it, a thousand times.
pub(super) fn flushes(dir: &Path) -> Result<Times> {
    let mut file = tempfile::tempfile_in(dir)?;
    let flush = |_| {
        let begun = now();
        append(&mut file, 1)?;
        Ok(begun.elapsed())
    };
    (0..FLUSHES).map(flush).collect()
}

/// Measures 64 writers of 1 KiB each time, whose records are flushed together: the limit of any durable server.
pub(super) fn group_commit(dir: &Path) -> Result<Load> {
    let file = tempfile::tempfile_in(dir)?;
    let (records, waiting) = sync_channel(WRITERS);
    let begun = now();
    let flusher = thread::spawn(move || flush_together(file, &waiting));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let records = records.clone();
            thread::spawn(move || write(&records, begun))
        })
        .collect();
    drop(records);
    let mut times = Vec::new();
    for writer in writers {
        times.extend(writer.join().map_err(|_| anyhow!("a writer failed"))??);
    }
    let elapsed = begun.elapsed();
    flusher.join().map_err(|_| anyhow!("the flusher failed"))??;
    let rate = times.len() as f64 / elapsed.as_secs_f64();
    let times: Times = times.into_iter().collect();
    Ok(Load { rate, times: Some((times.median(), times.percentile(99))), cpu: None })
}

fn write(records: &SyncSender<Written>, begun: Instant) -> Result<Vec<Duration>> {
    let (written, flushed) = sync_channel(1);
    let mut times = Vec::new();
    while begun.elapsed() < DURATION {
        let started = now();
        records.send(written.clone()).context("the flusher ended")?;
        flushed.recv()?;
        times.push(started.elapsed());
    }
    Ok(times)
}

fn flush_together(mut file: File, waiting: &Receiver<Written>) -> Result<()> {
    while let Ok(first) = waiting.recv() {
        let group: Vec<_> = std::iter::once(first).chain(waiting.try_iter()).collect();
        append(&mut file, group.len())?;
        for written in group {
            written.send(()).context("a writer ended")?;
        }
    }
    Ok(())
}

fn append(file: &mut File, records: usize) -> io::Result<()> {
    file.write_all(&RECORD.repeat(records))?;
    file.sync_data()
}
