//! Numbers beside an axis.

/// A step of an axis that ends at `most`, with as many digits as tell the quarters of it apart and no more.
pub fn label(at: f64, most: f64) -> String {
    // Two digits after the first of `most`: its quarters have no more.
    let digits = (2.0 - most.abs().max(f64::MIN_POSITIVE).log10().floor()).clamp(0.0, 12.0) as usize;
    let text = format!("{at:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
