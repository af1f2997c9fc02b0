//! Where a value was written: file, line, column and byte range.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// A file that was read: its path as the user gave it, and its text.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    path: Utf8PathBuf,
    text: String,
}

impl SourceFile {
    pub fn new(path: impl Into<Utf8PathBuf>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self {
            path: path.into(),
            text: text.into(),
        })
    }

    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The byte offset of a line and column, both counted from 1 (columns in characters).
    pub(crate) fn offset(&self, line: u64, column: u64) -> usize {
        let at = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        let start: usize = self
            .text
            .split_inclusive('\n')
            .take(at(line))
            .map(str::len)
            .sum();
        let rest = &self.text[start..];
        start
            + rest
                .char_indices()
                .nth(at(column))
                .map_or(rest.len(), |(offset, _)| offset)
    }

    /// Line and column, both counted from 1 (columns in characters), of a byte offset.
    pub fn line_column(&self, offset: usize) -> (u32, u32) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (saturating(line), saturating(column))
    }
}

/// A byte range of a [`SourceFile`]. Cheap to clone; displays as `file:line:column`.
#[derive(Clone, PartialEq, Eq)]
pub struct Span {
    source: Arc<SourceFile>,
    start: usize,
    end: usize,
}

impl Span {
    /// `start..end` in bytes; clamped to the text and to character boundaries.
    pub fn new(source: Arc<SourceFile>, range: Range<usize>) -> Self {
        let floor = |mut offset: usize| {
            offset = offset.min(source.text.len());
            while !source.text.is_char_boundary(offset) {
                offset -= 1;
            }
            offset
        };
        let start = floor(range.start);
        let end = floor(range.end).max(start);
        Self { source, start, end }
    }

    /// The beginning of a file, for errors about the file as a whole.
    pub fn start_of(source: &Arc<SourceFile>) -> Self {
        Self::new(Arc::clone(source), 0..0)
    }

    pub fn source(&self) -> &Arc<SourceFile> {
        &self.source
    }

    pub fn path(&self) -> &Utf8Path {
        self.source.path()
    }

    /// Byte range within the file.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The text as written, quotes included.
    pub fn text(&self) -> &str {
        &self.source.text[self.start..self.end]
    }

    /// Counted from 1.
    pub fn line(&self) -> u32 {
        self.source.line_column(self.start).0
    }

    /// Counted from 1, in characters.
    pub fn column(&self) -> u32 {
        self.source.line_column(self.start).1
    }

    /// A part of this span, in bytes relative to its start.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Self {
        Self::new(
            Arc::clone(&self.source),
            (self.start + range.start).min(self.end)..(self.start + range.end).min(self.end),
        )
    }

    /// The smallest span that covers both; `self` when they are of different files.
    #[must_use]
    pub fn to(&self, other: &Self) -> Self {
        if self.source.path != other.source.path {
            return self.clone();
        }
        Self::new(
            Arc::clone(&self.source),
            self.start.min(other.start)..self.end.max(other.end),
        )
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.source.line_column(self.start);
        write!(f, "{}:{line}:{column}", self.source.path)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As reports and event streams carry it: `{file, line, column}`.
impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (line, column) = self.source.line_column(self.start);
        let mut place = serializer.serialize_struct("Span", 3)?;
        place.serialize_field("file", self.path().as_str())?;
        place.serialize_field("line", &line)?;
        place.serialize_field("column", &column)?;
        place.end()
    }
}

/// A value together with where it was written. Two are equal when their values are.
#[derive(Debug, Clone)]
pub struct Located<T> {
    pub value: T,
    pub at: Span,
}

impl<T> Located<T> {
    pub fn new(value: T, at: Span) -> Self {
        Self { value, at }
    }

    pub fn map<U>(self, with: impl FnOnce(T) -> U) -> Located<U> {
        Located {
            value: with(self.value),
            at: self.at,
        }
    }
}

impl<T> std::ops::Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: PartialEq> PartialEq<T> for Located<T> {
    fn eq(&self, other: &T) -> bool {
        &self.value == other
    }
}

impl<T: fmt::Display> fmt::Display for Located<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: Serialize> Serialize for Located<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

fn saturating(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
