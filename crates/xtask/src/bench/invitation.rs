//! An invitation, from the typed code until both sides have each other, beside the Python magic-wormhole.

use std::time::Duration;

use anyhow::Result;

use super::figures::{Times, row, seconds, show};
use super::people::People;
use super::wormhole::Wormhole;

/// Measures both in turn, on the same server.
pub(super) fn run(people: &People, rounds: usize) -> Result<()> {
    let wormhole =
        Wormhole::install().inspect_err(|error| println!("magic-wormhole is left out: {error:#}")).ok();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(with_cpu(people, || people.meet())?);
        if let Some(wormhole) = &wormhole {
            theirs.push(with_cpu(people, || wormhole.pass_a_text(&people.rendezvous_url))?);
        }
    }
    let (wall, cpu) = medians(&ours);
    let mut rows = vec![row(["", "code typed → done", "CPU of all programs", "time ÷ ours", "CPU ÷ ours"])];
    rows.push(row(["two petmail nodes, confirmed", &seconds(wall), &seconds(cpu), "1", "1"]));
    if !theirs.is_empty() {
        let (their_wall, their_cpu) = medians(&theirs);
        let name = "wormhole send --text, receive".to_owned();
        let ratios = [their_wall.div_duration_f64(wall), their_cpu.div_duration_f64(cpu)];
        let ratios = ratios.map(|ratio| format!("{ratio:.1}"));
        rows.push([vec![name, seconds(their_wall), seconds(their_cpu)], ratios.to_vec()].concat());
    }
    show("Invitation", &rows);
    Ok(())
}

/// Returns how long something took, with the processor time of all programs.
fn with_cpu(people: &People, act: impl FnOnce() -> Result<Duration>) -> Result<(Duration, Duration)> {
    let before = people.cpu_time()?;
    let wall = act()?;
    Ok((wall, people.cpu_time()? - before))
}

fn medians(rounds: &[(Duration, Duration)]) -> (Duration, Duration) {
    let wall: Times = rounds.iter().map(|(wall, _)| *wall).collect();
    let cpu: Times = rounds.iter().map(|(_, cpu)| *cpu).collect();
    (wall.median(), cpu.median())
}
