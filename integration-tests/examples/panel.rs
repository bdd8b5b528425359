//! How soon the control panel can be used, in a real browser: `panel BASEDIR`, of a node that runs. `cargo xtask bench panel`
//! runs it, with a node in release mode.
#![expect(clippy::print_stdout, reason = "a program that tells figures to the one that started it")]

use std::path::Path;

use petmail_integration_tests::browser::Browser;
use petmail_integration_tests::node::Node;

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

fn main() {
    let basedir = std::env::args_os().nth(1).expect("usage: panel BASEDIR");
    let browser = Browser::at(&Node::at(Path::new(&basedir)));
    let mut loads = Vec::new();
    for _ in 0..LOADS {
        browser.reload();
        browser.see("room-1");
        let figures: Vec<f64> = serde_json::from_value(browser.script(FIGURES, &[])).expect("three figures");
        loads.push(figures);
    }
    let median = |index: usize| {
        let mut values: Vec<f64> = loads.iter().filter_map(|load| load.get(index).copied()).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    println!("{:.0} {:.0} {:.0}", median(0), median(1), median(2));
}
