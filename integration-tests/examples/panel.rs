//! How soon the control panel can be used, in a real browser: `panel BASEDIR`, of a node that runs. `cargo xtask bench panel`
//! runs it, with a node in release mode.
#![expect(clippy::print_stdout, reason = "a program that tells figures to the one that started it")]

use std::path::Path;

use petmail_integration_tests::browser::Browser;
use petmail_integration_tests::node::Node;
use petmail_integration_tests::wait::eventually;

/// How often the page is loaded; each figure is a median.
const LOADS: usize = 15;

/// Milliseconds since the page itself had arrived: until something is painted, until the list of conversations has arrived. And
/// how many bytes all of that took.
const FIGURES: &str = "
    const [page] = performance.getEntriesByType('navigation');
    const paint = performance.getEntriesByName('first-contentful-paint')[0];
    const all = performance.getEntriesByType('resource');
    const rooms = all.find((one) => one.name.endsWith('/api/v1/rooms'));
    const files = all.filter((one) => one.name.includes('/panel/'));
    return [paint.startTime - page.responseEnd, rooms.responseEnd - page.responseEnd,
        files.reduce((sum, one) => sum + one.encodedBodySize, page.encodedBodySize)]";

/// The same of a page that is nothing but a picture of a few hundred bytes: what the browser itself takes on this machine.
const FLOOR: &str = "
    const [page] = performance.getEntriesByType('navigation');
    const paint = performance.getEntriesByName('first-contentful-paint')[0];
    return paint ? [paint.startTime - page.responseEnd] : null";

fn main() {
    let basedir = std::env::args_os().nth(1).expect("usage: panel BASEDIR");
    let node = Node::at(Path::new(&basedir));
    let browser = Browser::at(&node);
    let mut loads = Vec::new();
    for _ in 0..LOADS {
        browser.reload();
        browser.see("room-1");
        let figures: Vec<f64> = serde_json::from_value(browser.script(FIGURES, &[])).expect("three figures");
        loads.push(figures);
    }
    let picture = format!("{}/panel/icon.svg", node.run(&["print-baseurl"]).text().trim());
    browser.visit(&picture);
    let mut floors = Vec::new();
    for _ in 0..LOADS {
        browser.reload();
        floors.push(eventually("the picture is painted", || {
            serde_json::from_value(browser.script(FLOOR, &[])).ok()
        }));
    }
    println!(
        "{:.0} {:.0} {:.0} {:.0}",
        median(&loads, 0),
        median(&loads, 1),
        median(&loads, 2),
        median(&floors, 0)
    );
}

fn median(loads: &[Vec<f64>], index: usize) -> f64 {
    let mut values: Vec<f64> = loads.iter().filter_map(|load| load.get(index).copied()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
