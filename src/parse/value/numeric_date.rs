//! Dates of day, month and year in numbers, whose order the value alone may not prove.

/// A date such as `3/4/2025`, perhaps with a time after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NumericDate {
    first: u32,
    second: u32,
    /// A year of two digits, which may also stand first.
    year: Option<u32>,
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
        let (date, _) = text.split_at(text.find([' ', 'T', ',', '\u{a0}']).unwrap_or(text.len()));
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
        let last = number(year).filter(|_| is_date && matches!(year.len(), 2 | 4))?;
        Some(Self {
            first: number(first)?,
            second: number(second)?,
            year: is_short(year).then_some(last),
        })
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
            // `99-12-31` has its year first.
            (false, false) if is_month(self.second) && self.year.is_some_and(is_day) => {
                DayMonthOrder::Either
            }
            (false, false) => DayMonthOrder::Neither,
        }
    }
}
