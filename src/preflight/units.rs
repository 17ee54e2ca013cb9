//! Values of settings, in the units of the server.

/// A quantity in bytes or in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quantity {
    /// Bytes.
    Bytes(f64),
    /// Milliseconds.
    Milliseconds(f64),
    /// A plain number.
    Number(f64),
}

impl Quantity {
    /// The number alone.
    pub fn value(self) -> f64 {
        match self {
            Self::Bytes(n) | Self::Milliseconds(n) | Self::Number(n) => n,
        }
    }
}

/// Bytes or milliseconds in one of PostgreSQL's units; `8kB` and the like are units too.
fn unit(text: &str) -> Option<Quantity> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
    let (factor, name) = text.split_at(split);
    let factor: f64 = if factor.is_empty() { 1.0 } else { factor.parse().ok()? };
    let kib = 1024_f64;
    Some(match name {
        "B" => Quantity::Bytes(factor),
        "kB" => Quantity::Bytes(factor * kib),
        "MB" => Quantity::Bytes(factor * kib.powi(2)),
        "GB" => Quantity::Bytes(factor * kib.powi(3)),
        "TB" => Quantity::Bytes(factor * kib.powi(4)),
        "us" => Quantity::Milliseconds(factor / 1000.0),
        "ms" => Quantity::Milliseconds(factor),
        "s" => Quantity::Milliseconds(factor * 1000.0),
        "min" => Quantity::Milliseconds(factor * 60_000.0),
        "h" => Quantity::Milliseconds(factor * 3_600_000.0),
        "d" => Quantity::Milliseconds(factor * 86_400_000.0),
        _ => return None,
    })
}

/// Reads a value such as `32GB`, `1.5 h`, `16384` as the server would for a setting with this unit; none where it is no
/// number, or its unit is of another kind.
pub fn parse(text: &str, setting_unit: Option<&str>) -> Option<Quantity> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+')))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    let own = match setting_unit.filter(|unit| !unit.is_empty()) {
        None => None,
        Some(unit_text) => Some(unit(unit_text)?),
    };
    match (suffix.trim(), own) {
        ("", None) => Some(Quantity::Number(number)),
        ("", Some(Quantity::Bytes(unit))) => Some(Quantity::Bytes(number * unit)),
        ("", Some(Quantity::Milliseconds(unit))) => Some(Quantity::Milliseconds(number * unit)),
        (suffix, Some(own)) => match (unit(suffix)?, own) {
            (Quantity::Bytes(factor), Quantity::Bytes(_)) => Some(Quantity::Bytes(number * factor)),
            (Quantity::Milliseconds(factor), Quantity::Milliseconds(_)) => {
                Some(Quantity::Milliseconds(number * factor))
            }
            _ => None,
        },
        (_, None) => None,
    }
}

/// Writes a quantity as postgresql.conf takes it, exact to the unit that it shows: `2GB`, `1536MB`, `100`.
pub fn show(quantity: Quantity) -> String {
    let largest = |n: f64, units: &[(&str, f64)]| {
        units
            .iter()
            .find(|(_, size)| n >= *size && n % size == 0.0)
            .map(|(name, size)| format!("{}{name}", n / size))
    };
    let kib = 1024_f64;
    match quantity {
        Quantity::Number(n) => n.to_string(),
        Quantity::Bytes(n) => largest(
            n,
            &[
                ("TB", kib.powi(4)),
                ("GB", kib.powi(3)),
                ("MB", kib.powi(2)),
                ("kB", kib),
            ],
        )
        .unwrap_or_else(|| format!("{n}B")),
        Quantity::Milliseconds(n) => largest(
            n,
            &[
                ("d", 86_400_000.0),
                ("h", 3_600_000.0),
                ("min", 60_000.0),
                ("s", 1000.0),
            ],
        )
        .unwrap_or_else(|| format!("{n}ms")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_in_the_settings_unit() {
        let gib = 1024_f64.powi(3);
        for (text, unit, expected) in [
            ("32GB", Some("8kB"), Some(Quantity::Bytes(32.0 * gib))),
            ("16384", Some("8kB"), Some(Quantity::Bytes(16384.0 * 8192.0))),
            ("16 MB", Some("kB"), Some(Quantity::Bytes(16.0 * 1_048_576.0))),
            ("1536MB", Some("MB"), Some(Quantity::Bytes(1.5 * gib))),
            ("-1", Some("8kB"), Some(Quantity::Bytes(-8192.0))),
            ("1.5h", Some("ms"), Some(Quantity::Milliseconds(5_400_000.0))),
            ("500us", Some("ms"), Some(Quantity::Milliseconds(0.5))),
            ("1000", None, Some(Quantity::Number(1000.0))),
            ("0.9", None, Some(Quantity::Number(0.9))),
            ("1GB", None, None),
            ("1s", Some("kB"), None),
            ("on", None, None),
            ("", Some("kB"), None),
        ] {
            assert_eq!(parse(text, unit), expected, "{text} {unit:?}");
        }
    }

    #[test]
    fn values_are_written_as_the_server_reads_them() {
        for (text, unit) in [
            ("32GB", Some("8kB")),
            ("1536MB", Some("MB")),
            ("100", None),
            ("90s", Some("ms")),
            ("2500ms", Some("ms")),
            ("24kB", Some("8kB")),
        ] {
            let read = parse(text, unit).expect(text);
            assert_eq!(show(read), text);
        }
    }
}
