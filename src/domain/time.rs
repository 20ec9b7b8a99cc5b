//! Moments and spans, in milliseconds since 1970 UTC. Only `sys` knows what time it is.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment, in unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From unix milliseconds.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Unix milliseconds.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Unix seconds, rounded down.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// How long ago `earlier` was; nothing if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Span {
        Span(self.0.saturating_sub(earlier.0).max(0))
    }

    /// As people read it: `21 Nov 2025, 14:02 UTC`.
    #[must_use]
    pub fn words(self) -> String {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let Ok(at) = OffsetDateTime::from_unix_timestamp(self.seconds()) else {
            return "unknown time".to_owned();
        };
        let month = MONTHS.get(usize::from(u8::from(at.month())) - 1).copied().unwrap_or_default();
        format!("{} {month} {}, {:02}:{:02} UTC", at.day(), at.year(), at.hour(), at.minute())
    }

    /// How long until `later`; nothing if it has passed.
    #[must_use]
    pub fn until(self, later: Timestamp) -> Span {
        later.since(self)
    }
}

impl Add<Span> for Timestamp {
    type Output = Timestamp;
    fn add(self, span: Span) -> Timestamp {
        Timestamp(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Timestamp {
    type Output = Timestamp;
    fn sub(self, span: Span) -> Timestamp {
        Timestamp(self.0.saturating_sub(span.0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339, UTC, whole seconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text =
            OffsetDateTime::from_unix_timestamp(self.seconds()).ok().and_then(|t| t.format(&Rfc3339).ok());
        f.write_str(text.as_deref().unwrap_or("unknown time"))
    }
}

/// A length of time, in milliseconds, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(i64);

impl Span {
    /// Nothing.
    pub const ZERO: Span = Span(0);

    /// So many milliseconds.
    #[must_use]
    pub const fn millis(millis: i64) -> Self {
        Self(if millis < 0 { 0 } else { millis })
    }
    /// So many seconds.
    #[must_use]
    pub const fn seconds(seconds: i64) -> Self {
        Self::millis(seconds.saturating_mul(1000))
    }
    /// So many minutes.
    #[must_use]
    pub const fn minutes(minutes: i64) -> Self {
        Self::seconds(minutes.saturating_mul(60))
    }
    /// So many hours.
    #[must_use]
    pub const fn hours(hours: i64) -> Self {
        Self::minutes(hours.saturating_mul(60))
    }
    /// In milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }
    /// In whole seconds.
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0 / 1000
    }
    /// For timers.
    #[must_use]
    pub fn std(self) -> std::time::Duration {
        std::time::Duration::from_millis(u64::try_from(self.0).unwrap_or_default())
    }
    /// Twice as long, at most `limit`.
    #[must_use]
    pub fn doubled(self, limit: Span) -> Span {
        Span(self.0.saturating_mul(2).min(limit.0))
    }
    /// In words, the largest unit that says enough: "45 seconds", "8 minutes", "2 hours".
    #[must_use]
    pub fn words(self) -> String {
        let seconds = (self.0 + 999) / 1000;
        let (count, unit) = match seconds {
            0..=89 => (seconds, "second"),
            90..=5_399 => ((seconds + 30) / 60, "minute"),
            5_400..=172_799 => ((seconds + 1_800) / 3_600, "hour"),
            _ => ((seconds + 43_200) / 86_400, "day"),
        };
        format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
    }
}

/// Units of a written span, largest first.
const UNITS: [(&str, i64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, millis) in UNITS {
            if self.0 >= millis && self.0 % millis == 0 {
                return write!(f, "{}{unit}", self.0 / millis);
            }
        }
        f.write_str("0s")
    }
}

/// The text is not a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a duration is a whole number and a unit: 500ms, 30s, 15m, 8h or 7d")]
pub struct NotASpan;

impl FromStr for Span {
    type Err = NotASpan;
    fn from_str(text: &str) -> Result<Self, NotASpan> {
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or(NotASpan)?;
        let (number, unit) = text.split_at(split);
        let number: i64 = number.parse().map_err(|_| NotASpan)?;
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(NotASpan)?;
        number.checked_mul(*millis).map(Span).ok_or(NotASpan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_with_their_zone() {
        assert_eq!(Timestamp::from_millis(1_763_733_720_999).words(), "21 Nov 2025, 14:02 UTC");
        assert_eq!(Timestamp::from_millis(0).words(), "1 Jan 1970, 00:00 UTC");
        assert_eq!(Timestamp::from_millis(i64::MAX).words(), "unknown time");
    }

    #[test]
    fn spans_read_and_write_the_same() {
        for text in ["0s", "500ms", "30s", "15m", "8h", "7d"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for wrong in
            ["", "5", "m", "-5m", "5 m", "5M", "1.5h", "99999999999999999999s", "9223372036854775807d"]
        {
            assert_eq!(wrong.parse::<Span>(), Err(NotASpan), "{wrong}");
        }
    }

    #[test]
    fn spans_in_words() {
        assert_eq!(Span::millis(1).words(), "1 second");
        assert_eq!(Span::minutes(8).words(), "8 minutes");
        assert_eq!(Span::hours(2).words(), "2 hours");
    }
}
