//! Reads DER, the encoding of certificates.

/// Reads DER from the front.
pub(super) struct Der<'a>(pub(super) &'a [u8]);

impl<'a> Der<'a> {
    pub(super) const BOOLEAN: u8 = 0x01;
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const BITS: u8 = 0x03;
    pub(super) const OCTETS: u8 = 0x04;
    pub(super) const OBJECT_ID: u8 = 0x06;
    const UTC_TIME: u8 = 0x17;
    const TIME: u8 = 0x18;
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const SET: u8 = 0x31;

    /// Tag, content, and both with the length between them.
    pub(super) fn next(&mut self) -> Option<(u8, Der<'a>, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            ..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (
                    bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
                    rest,
                )
            }
            _ => return None,
        };
        // Tags of several bytes occur in no certificate.
        let (content, rest) = rest.split_at_checked(length).filter(|_| tag & 0x1f != 0x1f)?;
        let whole = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some((tag, Der(content), whole))
    }

    /// The content of the next element if it has this tag; otherwise it stays the next.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.0.first() != Some(&tag) {
            return None;
        }
        self.next().map(|(_, content, _)| content.0)
    }

    /// Whole bytes only.
    pub(super) fn take_bits(&mut self) -> Option<&'a [u8]> {
        self.take(Self::BITS)?.strip_prefix(&[0])
    }

    pub(super) fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }

    /// Seconds since 1970; what was before counts as 1970.
    pub(super) fn take_time(&mut self) -> Option<u64> {
        let (tag, text, _) = self.next()?;
        let text = std::str::from_utf8(text.0).ok()?.strip_suffix('Z')?;
        let (century, text) = match (tag, text.len()) {
            (Self::UTC_TIME, 12) => (if text.as_bytes()[0] < b'5' { 2000 } else { 1900 }, text),
            (Self::TIME, 14) => (text.get(..2)?.parse::<u64>().ok()? * 100, text.get(2..)?),
            _ => return None,
        };
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let part = |at: usize| text.get(at..at + 2)?.parse::<u64>().ok();
        let (year, month, day) = (century + part(0)?, part(2)?, part(4)?);
        let (hour, minute, second) = (part(6)?, part(8)?, part(10)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        // Years begin in March here, so that the leap day is the last.
        let (year, month) = if month > 2 {
            (year, month - 3)
        } else {
            (year.checked_sub(1)?, month + 9)
        };
        let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
        let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
        Some(seconds.saturating_sub(719_468 * 86_400))
    }

    /// The content of a sequence with its header.
    pub(super) fn wrap(content: &[u8]) -> Vec<u8> {
        let length = content.len().to_be_bytes();
        let length: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
        let header = match content.len() {
            ..=0x7f => vec![Self::SEQUENCE, content.len() as u8],
            _ => [&[Self::SEQUENCE, 0x80 | length.len() as u8], length.as_slice()].concat(),
        };
        [header.as_slice(), content].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::Der;

    #[test]
    fn times_are_read() {
        for (tag, text, expected) in [
            (Der::UTC_TIME, "700101000000Z", Some(0)),
            (Der::UTC_TIME, "000301000000Z", Some(951_868_800)),
            (Der::UTC_TIME, "240229235959Z", Some(1_709_251_199)),
            (Der::UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (Der::UTC_TIME, "500101000000Z", Some(0)),
            (Der::TIME, "19700101000000Z", Some(0)),
            (Der::TIME, "20500101000000Z", Some(2_524_608_000)),
            (Der::TIME, "21000301000000Z", Some(4_107_542_400)),
            (Der::TIME, "99991231235959Z", Some(253_402_300_799)),
            (Der::TIME, "00000101000000Z", None),
            (Der::TIME, "20241301000000Z", None),
            (Der::TIME, "20240100000000Z", None),
            (Der::TIME, "20240101240000Z", None),
            (Der::TIME, "2024010100000Z", None),
            (Der::TIME, "20240101000000", None),
            (Der::TIME, "20240101000000+0100", None),
            (Der::TIME, "2024010100000xZ", None),
            (Der::UTC_TIME, "+40101000000Z", None),
            (Der::UTC_TIME, "", None),
            (Der::INTEGER, "20240101000000Z", None),
        ] {
            let der = [&[tag, text.len() as u8], text.as_bytes()].concat();
            assert_eq!(Der(&der).take_time(), expected, "{tag:x} {text}");
        }
    }
}
