//! Where the rows of COPY's output end, however its bytes are cut.

use super::manifest::RowFormat;
use crate::pg::copy::{BINARY_HEADER, BINARY_TRAILER};

/// Goes through COPY's output and tells rows from what frames them; holds no row in memory.
pub struct RowEnds {
    format: RowFormat,
    state: State,
    /// Bytes of a number or of the header that are there so far.
    partial: Vec<u8>,
}

#[derive(Clone, Copy)]
enum State {
    Header,
    /// The number of fields of the next row, or the trailer.
    Count,
    /// The length of a field; so many fields are to come.
    Length(u16),
    /// So many bytes of a field, and so many fields after it.
    Field(u32, u16),
    /// Behind the trailer.
    End,
    /// A line of text, of which some bytes have been there or none.
    Line(bool),
}

impl RowEnds {
    /// At the start of a part.
    pub fn new(format: RowFormat) -> Self {
        Self {
            format,
            state: match format {
                RowFormat::Binary => State::Header,
                RowFormat::Text => State::Line(false),
            },
            partial: Vec::with_capacity(BINARY_HEADER.len()),
        }
    }

    /// Takes the next bytes, and hands on what of them belongs to rows, piece by piece; with each piece whether its row ends
    /// with it.
    ///
    /// # Errors
    /// Why they cannot be what COPY wrote.
    pub fn push(&mut self, bytes: &[u8], mut piece: impl FnMut(&[u8], bool)) -> Result<(), &'static str> {
        match self.format {
            RowFormat::Binary => self.binary(bytes, piece),
            RowFormat::Text => {
                // A newline within a value is written as `\n`.
                for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                    let ends = line.ends_with(b"\n");
                    piece(line, ends);
                    self.state = State::Line(!ends);
                }
                Ok(())
            }
        }
    }

    /// Takes bytes for the number or header that is being read; true once it is whole.
    fn fill(&mut self, bytes: &[u8], at: &mut usize, wanted: usize) -> bool {
        let n = (wanted - self.partial.len()).min(bytes.len() - *at);
        self.partial.extend_from_slice(&bytes[*at..*at + n]);
        *at += n;
        self.partial.len() == wanted
    }

    fn binary(&mut self, bytes: &[u8], mut piece: impl FnMut(&[u8], bool)) -> Result<(), &'static str> {
        // The first byte that has not been looked at, and the first that has not been handed on.
        let (mut at, mut from) = (0, 0);
        while at < bytes.len() {
            let mut ended = false;
            match self.state {
                State::Header => {
                    if self.fill(bytes, &mut at, BINARY_HEADER.len()) {
                        if self.partial != BINARY_HEADER {
                            return Err("it does not begin with COPY's header");
                        }
                        self.partial.clear();
                        self.state = State::Count;
                    }
                    from = at;
                }
                State::Count => {
                    let cut = !self.partial.is_empty();
                    if !self.fill(bytes, &mut at, BINARY_TRAILER.len()) {
                        // Whether it begins a row is not known yet.
                        from = at;
                    } else if self.partial == BINARY_TRAILER {
                        self.partial.clear();
                        self.state = State::End;
                        from = at;
                    } else {
                        if cut {
                            piece(&self.partial, false);
                            from = at;
                        }
                        let fields = u16::from_be_bytes([self.partial[0], self.partial[1]]);
                        self.partial.clear();
                        ended = self.next_field(fields);
                    }
                }
                State::Length(fields) => {
                    if self.fill(bytes, &mut at, 4) {
                        let length = [self.partial[0], self.partial[1], self.partial[2], self.partial[3]];
                        self.partial.clear();
                        match i32::from_be_bytes(length) {
                            -1 | 0 => ended = self.next_field(fields - 1),
                            n => {
                                let n = u32::try_from(n).map_err(|_| "a field of it has a length below zero")?;
                                self.state = State::Field(n, fields - 1);
                            }
                        }
                    }
                }
                State::Field(left, fields) => {
                    let n = (bytes.len() - at).min(left as usize);
                    at += n;
                    match left - u32::try_from(n).unwrap_or(left) {
                        0 => ended = self.next_field(fields),
                        left => self.state = State::Field(left, fields),
                    }
                }
                State::End | State::Line(_) => return Err("there is something behind COPY's trailer"),
            }
            if ended {
                piece(&bytes[from..at], true);
                from = at;
            }
        }
        if from < at {
            piece(&bytes[from..at], false);
        }
        Ok(())
    }

    /// Whether the row has ended, as no field is to come.
    fn next_field(&mut self, fields: u16) -> bool {
        self.state = match fields {
            0 => State::Count,
            _ => State::Length(fields),
        };
        fields == 0
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it ends within a row or without the trailer.
    pub fn finish(&self) -> Result<(), &'static str> {
        match self.state {
            State::End | State::Line(false) => Ok(()),
            _ => Err("it ends within a row"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows, each by itself.
    fn split(format: RowFormat, bytes: &[u8], cut: usize) -> Result<Vec<Vec<u8>>, &'static str> {
        let mut ends = RowEnds::new(format);
        let (mut rows, mut row) = (Vec::new(), Vec::new());
        for part in bytes.chunks(cut) {
            ends.push(part, |piece, ended| {
                row.extend_from_slice(piece);
                if ended {
                    rows.push(std::mem::take(&mut row));
                }
            })?;
        }
        ends.finish().map(|()| rows)
    }

    #[test]
    fn rows_are_found_however_they_are_cut() {
        let long = vec![7_u8; 1000];
        let mut rows: Vec<Vec<u8>> = vec![
            b"\0\x02\xff\xff\xff\xff\0\0\0\0".to_vec(),
            b"\0\0".to_vec(),
            b"\0\x01\0\0\0\x02\xff\xff".to_vec(),
        ];
        rows.push([b"\0\x01\0\0\x03\xe8".as_slice(), &long].concat());
        let all = [BINARY_HEADER.as_slice(), &rows.concat(), BINARY_TRAILER].concat();
        for cut in [1, 2, 3, 7, 64, 100_000] {
            assert_eq!(split(RowFormat::Binary, &all, cut).as_ref(), Ok(&rows), "{cut}");
            assert!(split(RowFormat::Binary, &all[..all.len() - 1], cut).is_err());
            assert!(split(RowFormat::Binary, &[&all, &b"x"[..]].concat(), cut).is_err());
            assert!(split(RowFormat::Binary, b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x01", cut).is_err());
        }
        let negative = [&BINARY_HEADER[..], &[0, 1, 0xff, 0xff, 0xff, 0xfe]].concat();
        assert_eq!(
            split(RowFormat::Binary, &negative, 64),
            Err("a field of it has a length below zero")
        );
        let text = b"a\t\\N\n\nlast\\n\n";
        let lines = [&b"a\t\\N\n"[..], b"\n", b"last\\n\n"].map(<[u8]>::to_vec).to_vec();
        for cut in [1, 3, 100] {
            assert_eq!(split(RowFormat::Text, text, cut).as_ref(), Ok(&lines));
            assert!(split(RowFormat::Text, &text[..text.len() - 1], cut).is_err());
        }
    }
}
