//! Dates of day, month and year in numbers, whose order the value alone may not prove.

/// A date such as `3/4/2025`, perhaps with a time after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NumericDate {
    first: u32,
    second: u32,
    separator: char,
    has_short_year: bool,
    /// The format of the text after the date.
    time_format: String,
}

/// Which of the first two numbers is the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DayMonthOrder {
    /// The first number, since it is not a month.
    DayFirst,
    /// The second number, since it is not a month.
    MonthFirst,
    /// Either number.
    Either,
    /// Neither order is a date.
    Neither,
}

impl NumericDate {
    /// Recognizes the form of the value, whether or not the date exists.
    pub(crate) fn recognize(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (date, time) = text.split_at(text.find([' ', 'T']).unwrap_or(text.len()));
        let separator = date.chars().find(|c| !c.is_ascii_digit())?;
        let parts: Vec<_> = date.split(separator).collect();
        let [first, second, year] = parts.as_slice() else {
            return None;
        };
        let number = |part: &str| {
            let is_numeric = part.bytes().all(|byte| byte.is_ascii_digit());
            (is_numeric && part.len() <= 4).then(|| part.parse::<u32>().ok())?
        };
        let is_short = |part: &str| part.len() <= 2;
        let is_date = matches!(separator, '/' | '.' | '-') && is_short(first) && is_short(second);
        number(year).filter(|_| is_date && matches!(year.len(), 2 | 4))?;
        Some(Self {
            first: number(first)?,
            second: number(second)?,
            separator,
            has_short_year: is_short(year),
            time_format: time_format(time),
        })
    }

    /// Whether both dates are written in the same form.
    pub(crate) fn has_form_of(&self, other: &Self) -> bool {
        let form = |of: &Self| (of.separator, of.has_short_year);
        form(self) == form(other) && self.time_format == other.time_format
    }

    /// Returns the order that the numbers themselves prove.
    pub(crate) fn order(&self) -> DayMonthOrder {
        let is_month = |number| (1..=12).contains(&number);
        let is_day = |number| (1..=31).contains(&number);
        let day_first = is_day(self.first) && is_month(self.second);
        let month_first = is_month(self.first) && is_day(self.second);
        match (day_first, month_first) {
            (true, true) => DayMonthOrder::Either,
            (true, false) => DayMonthOrder::DayFirst,
            (false, true) => DayMonthOrder::MonthFirst,
            (false, false) => DayMonthOrder::Neither,
        }
    }

    /// Returns the `timestamp_format` that reads the value in the given order.
    pub(crate) fn format(&self, day_first: bool) -> String {
        let Self {
            separator,
            time_format,
            ..
        } = self;
        let (first, second) = if day_first {
            ("%d", "%m")
        } else {
            ("%m", "%d")
        };
        let year = if self.has_short_year { "%y" } else { "%Y" };
        format!("{first}{separator}{second}{separator}{year}{time_format}")
    }
}

/// Returns the format of a time of day after a date, its separator included.
fn time_format(time: &str) -> String {
    let Some(separator) = time.chars().next() else {
        return String::new();
    };
    let is_twelve_hour = time.len() > 2 && {
        let end = time.as_bytes()[time.len() - 2..].to_ascii_lowercase();
        matches!(&end[..], b"am" | b"pm")
    };
    let hour = if is_twelve_hour { "%I" } else { "%H" };
    let seconds = match (time.matches(':').count(), time.contains('.')) {
        (0 | 1, _) => "",
        (_, false) => ":%S",
        (_, true) => ":%S%.f",
    };
    let before_marker = time.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let marker = match (is_twelve_hour, before_marker.ends_with(' ')) {
        (false, _) => "",
        (true, true) => " %p",
        (true, false) => "%p",
    };
    format!("{separator}{hour}:%M{seconds}{marker}")
}
