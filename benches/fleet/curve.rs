//! From 100 to 50,000 launches: CPU, memory and calls, as numbers and as a drawing.

use std::fmt::Write as _;
use std::fs;

use crate::bench::{Bench, all_in_service, calls};
use crate::report::Measured;
use crate::{Fallible, axis, kernel, setup};

/// One point of the curve.
struct Point {
    launches: usize,
    cpu_ms: f64,
    peak_mib: f64,
    calls: f64,
}

pub fn run(bench: &Bench) -> Fallible<Measured> {
    let sizes: &[usize] = bench.scale(&[100, 300, 1_000, 3_000, 10_000, 30_000, 50_000], &[100, 300]);
    let points = sizes.iter().map(|launches| point(bench, *launches)).collect::<Fallible<Vec<_>>>()?;
    if let Some(folder) = bench.svg.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&bench.svg, draw(&points))?;
    let mut measured = Measured::default();
    for point in &points {
        measured = measured
            .shown(format!("{} launches: CPU per launch", point.launches), point.cpu_ms, "ms")
            .shown(format!("{} launches: peak memory", point.launches), point.peak_mib, "MiB")
            .shown(format!("{} launches: calls per launch", point.launches), point.calls, "calls");
    }
    Ok(measured.note(format!("drawn: {}", bench.svg.display())))
}

fn point(bench: &Bench, launches: usize) -> Fallible<Point> {
    let simulator = bench.simulator(&setup::fixture(3600))?;
    simulator.admin.launch(setup::GROUP, launches)?;
    let configuration = setup::configuration(&simulator.endpoint(), "", setup::FAST, setup::ANYBODY);
    let mut worker = bench.worker_with(&simulator, "worker", &configuration)?;
    simulator.until_drained(launches, &mut worker, |_| Ok(()))?;
    let state = simulator.admin.summary()?;
    all_in_service(&state, launches)?;
    let peak_mib = kernel::peak(worker.pid())? as f64 / 1024.0;
    let cpu_ms = worker.stop()?.as_secs_f64() * 1000.0 / launches as f64;
    Ok(Point { launches, cpu_ms, peak_mib, calls: calls(&state) as f64 / launches as f64 })
}

/// What a panel shows of a point.
type Value = fn(&Point) -> f64;

const WIDTH: f64 = 280.0;
const HEIGHT: f64 = 170.0;
const LEFT: f64 = 48.0;
const TOP: f64 = 34.0;

/// Three panels side by side over the same axis of launches, which is logarithmic; the others begin at zero.
fn draw(points: &[Point]) -> String {
    let panels: [(&str, Value); 3] = [
        ("CPU per launch, ms", |point| point.cpu_ms),
        ("peak memory, MiB", |point| point.peak_mib),
        ("API calls per launch", |point| point.calls),
    ];
    let whole = (3.0 * (WIDTH + LEFT + 16.0), TOP + HEIGHT + 44.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0} {:.0}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <title>CPU, memory and API calls of one worker that drains a backlog, by its size</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        whole.0, whole.1
    );
    for (at, (title, value)) in panels.iter().enumerate() {
        let _ = writeln!(svg, "<g transform=\"translate({:.0} {TOP:.0})\">", LEFT + at as f64 * (WIDTH + LEFT + 16.0));
        panel(&mut svg, title, points, *value);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, title: &str, points: &[Point], value: Value) {
    let most = nice(points.iter().map(value).fold(0.0, f64::max));
    let (first, last) = (points.first().map_or(1, |point| point.launches) as f64, points.last().map_or(10, |point| point.launches) as f64);
    let x = |launches: f64| (launches / first).ln() / (last / first).ln().max(f64::MIN_POSITIVE) * WIDTH;
    let y = |value: f64| HEIGHT - value / most * HEIGHT;
    let _ = writeln!(svg, "<text x=\"0\" y=\"-14\" font-size=\"13\" fill=\"#222222\">{title}</text>");
    for step in 0..=4 {
        let at = most * f64::from(step) / 4.0;
        let _ = writeln!(
            svg,
            "<path d=\"M0 {y:.1}H{WIDTH}\" stroke=\"#dddddd\"/><text x=\"-6\" y=\"{text:.1}\" text-anchor=\"end\" fill=\"#555555\">{label}</text>",
            y = y(at),
            text = y(at) + 4.0,
            label = axis::label(at, most)
        );
    }
    let mut path = String::new();
    for point in points {
        let (x, y) = (x(point.launches as f64), y(value(point)));
        let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { "M" } else { "L" });
        let _ = writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#1f5fa8\"/><text x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\" fill=\"#555555\">{}</text>",
            HEIGHT + 16.0,
            short(point.launches)
        );
    }
    let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"2\"/>");
    let _ =
        writeln!(svg, "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\" fill=\"#555555\">launches</text>", WIDTH / 2.0, HEIGHT + 34.0);
}

/// The next of 1, 2, 4 or 8 times a power of ten.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 4.0, 8.0, 10.0].into_iter().map(|step| step * power).find(|nice| *nice >= value).unwrap_or(value)
}

fn short(launches: usize) -> String {
    if launches >= 1000 { format!("{}k", launches / 1000) } else { launches.to_string() }
}
