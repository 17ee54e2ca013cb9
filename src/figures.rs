//! Figures for people: sizes, spans of time, counts.

/// A duration in milliseconds for people: `8.1 ms`, `2.35 s`.
pub fn milliseconds(ms: f64) -> String {
    if ms < 1000.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{:.2} s", ms / 1000.0)
    }
}

/// Bytes for people in binary units: `40.0 KiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit < UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// A span of time for people, in the unit that fits it: `45 s`, `12 min`, `3.2 h`, `4.1 d`.
pub fn span(seconds: f64) -> String {
    match seconds.max(0.0) {
        s if s < 99.5 => format!("{s:.0} s"),
        s if s < 99.5 * 60.0 => format!("{:.0} min", s / 60.0),
        s if s < 72.0 * 3600.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}

/// A number for people, its thousands apart: `1,234,567`. Fractions keep two digits.
pub fn grouped(number: f64) -> String {
    if !number.is_finite() {
        return number.to_string();
    }
    let text = if number.fract() == 0.0 {
        format!("{number:.0}")
    } else {
        format!("{number:.2}")
    };
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if let Some(fraction) = fraction {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    grouped
}

/// A number with about three digits that count: `12,345`, `123`, `12.3`, `1.23`, `0.0123`.
pub fn significant(number: f64) -> String {
    match number.abs() {
        _ if !number.is_finite() => "unknown".to_owned(),
        0.0 => "0".to_owned(),
        n if n >= 99.95 => grouped(number.round()),
        n if n >= 9.995 => format!("{number:.1}"),
        n if n >= 0.9995 => format!("{number:.2}"),
        n if n >= 1e-6 => {
            let digits = (2.0 - n.log10().floor()).clamp(2.0, 8.0) as usize;
            format!("{number:.digits$}")
        }
        _ => format!("{number:e}"),
    }
}

/// `1 tenant`, `2 tenants`.
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_carry_units() {
        assert_eq!(milliseconds(8.04), "8.0 ms");
        assert_eq!(milliseconds(2350.0), "2.35 s");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(40 * 1024), "40.0 KiB");
        assert_eq!(count(1, "tenant"), "1 tenant");
        assert_eq!(count(0, "tenant"), "0 tenants");
        assert_eq!(
            [span(45.2), span(720.0), span(11_520.0), span(360_000.0)],
            ["45 s", "12 min", "3.2 h", "4.2 d"]
        );
        let numbers = [
            12_345.6,
            99.96,
            12.34,
            9.996,
            1.234,
            0.999_9,
            0.012_34,
            0.0,
            -1.5,
            f64::NAN,
        ];
        assert_eq!(
            numbers.map(significant),
            [
                "12,346", "100", "12.3", "10.0", "1.23", "1.00", "0.0123", "0", "-1.50", "unknown"
            ]
        );
        assert_eq!(
            [grouped(0.0), grouped(-1_234_567.0), grouped(999.0), grouped(1234.5)],
            ["0", "-1,234,567", "999", "1,234.50"]
        );
    }
}
