//! Tables of medians, ratios of pairs, and the same as JSON.

use std::fmt::Write as _;

/// Named figures of one run.
pub(crate) type Measures = Vec<(&'static str, f64)>;

/// One scenario.
pub(crate) struct Table {
    pub(crate) scenario: String,
    /// The column that programs are compared by.
    pub(crate) key: &'static str,
    /// Whether more of it is better.
    pub(crate) more_is_better: bool,
    /// The rows that every row is divided by, by name; if none, the better floor and the first row.
    pub(crate) references: &'static [&'static str],
    pub(crate) rows: Vec<Row>,
}

/// One program: what each run gave, or why it failed, in the order of the runs.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) is_floor: bool,
    pub(crate) runs: Vec<Result<Measures, String>>,
}

impl Row {
    /// Before the first run.
    pub(crate) fn new(name: String, is_floor: bool) -> Self {
        Self {
            name,
            is_floor,
            runs: Vec::new(),
        }
    }

    fn values(&self, column: &str) -> Vec<f64> {
        let measures = self.runs.iter().flatten();
        measures.filter_map(|run| value(run, column)).collect()
    }

    /// Every figure of this name, from all runs.
    pub(crate) fn total(&self, column: &str) -> f64 {
        self.values(column).iter().sum()
    }

    /// Whether any run failed.
    pub(crate) fn failed(&self) -> bool {
        self.runs.iter().any(Result::is_err)
    }
}

impl Table {
    /// The table as text.
    pub(crate) fn text(&self) -> String {
        let first = self
            .rows
            .iter()
            .flat_map(|row| row.runs.iter().flatten())
            .next();
        let columns: Vec<&str> = first.into_iter().flatten().map(|(name, _)| *name).collect();
        let mut lines = vec![vec![self.scenario.clone()]];
        lines[0].extend(columns.iter().map(|&name| name.to_owned()));
        lines[0].push("least..most".to_owned());
        for row in &self.rows {
            let mut line = vec![row.name.clone()];
            line.extend(columns.iter().map(|name| figure(median(row.values(name)))));
            line.push(spread(row.values(self.key)));
            lines.push(line);
        }
        let mut text = align(&lines);
        for row in &self.rows {
            for error in row.runs.iter().filter_map(|run| run.as_ref().err()) {
                let _ = writeln!(text, "  {} failed: {error}", row.name);
            }
        }
        if !self.references.is_empty() {
            return text + &self.ratio_text();
        }
        let floor = self.better_floor();
        let programs = self.rows.iter().filter(|row| !row.is_floor);
        let with_floor = programs.clone().filter_map(|row| Some((row, floor?)));
        let with_first = programs.clone().skip(1).map(|other| (&self.rows[0], other));
        for (row, reference) in with_floor.chain(with_first) {
            let ratios = self.ratios(row, reference);
            if ratios.is_empty() {
                continue;
            }
            let _ = writeln!(
                text,
                "  {} / {}, {}: {} ({})",
                row.name,
                reference.name,
                self.key,
                figure(median(ratios.clone())),
                spread(ratios)
            );
        }
        text
    }

    /// The ratios of all rows to the references, as text.
    fn ratio_text(&self) -> String {
        let named = |name: &&str| self.rows.iter().find(|row| row.name == *name);
        let references: Vec<&Row> = self.references.iter().filter_map(named).collect();
        let mut lines = vec![vec![format!("{}, divided by", self.key)]];
        lines[0].extend(references.iter().map(|reference| reference.name.clone()));
        for row in &self.rows {
            let ratio = |reference: &&Row| match self.ratios(row, reference) {
                _ if row.name == reference.name => String::new(),
                ratios if ratios.len() < 2 => figure(median(ratios)),
                ratios => format!("{} ({})", figure(median(ratios.clone())), spread(ratios)),
            };
            let mut line = vec![row.name.clone()];
            line.extend(references.iter().map(ratio));
            lines.push(line);
        }
        align(&lines)
    }

    /// The table as a JSON object.
    pub(crate) fn json(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let runs = row.runs.iter().map(|run| match run {
                Ok(measures) => object(measures.iter().map(|&(name, value)| {
                    let value = value.is_finite().then(|| value.to_string());
                    (name, value.unwrap_or("null".to_owned()))
                })),
                Err(error) => object([("failed", quoted(error))]),
            });
            object([("program", quoted(&row.name)), ("runs", array(runs))])
        });
        object([
            ("scenario", quoted(&self.scenario)),
            ("key", quoted(self.key)),
            ("rows", array(rows)),
        ])
    }

    fn better_floor(&self) -> Option<&Row> {
        let sign = if self.more_is_better { -1.0 } else { 1.0 };
        self.rows
            .iter()
            .filter(|row| row.is_floor && !row.values(self.key).is_empty())
            .min_by(|a, b| {
                let (a, b) = (median(a.values(self.key)), median(b.values(self.key)));
                (sign * a).total_cmp(&(sign * b))
            })
    }

    /// One ratio per pair of runs that stood next to each other.
    fn ratios(&self, row: &Row, reference: &Row) -> Vec<f64> {
        let pairs = row.runs.iter().zip(&reference.runs);
        pairs
            .filter_map(|(run, reference)| {
                let run = value(run.as_ref().ok()?, self.key)?;
                Some(run / value(reference.as_ref().ok()?, self.key)?)
            })
            .collect()
    }
}

/// An array of JSON values.
pub(crate) fn array(values: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", values.into_iter().collect::<Vec<_>>().join(","))
}

/// An object of JSON values.
pub(crate) fn object<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let fields = fields
        .into_iter()
        .map(|(name, value)| format!("{}:{value}", quoted(name)));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// A JSON string.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\u{0}'..='\u{1f}' => quoted.push(' '),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

fn value(measures: &Measures, column: &str) -> Option<f64> {
    let mut named = measures.iter().filter(|(name, _)| *name == column);
    named.next().map(|(_, value)| *value)
}

/// The middle one, or what lies between the two in the middle; not a number if there is none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len if len.is_multiple_of(2) => (values[len / 2 - 1] + values[len / 2]) / 2.0,
        len => values[len / 2],
    }
}

fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    match values.as_slice() {
        [] => "-".to_owned(),
        [one] => figure(*one),
        [least, .., most] => format!("{}..{}", figure(*least), figure(*most)),
    }
}

fn figure(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => "-".to_owned(),
        0.0 => "0".to_owned(),
        size if size < 1.0 => format!("{value:.3}"),
        size if size < 100.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

fn align(lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut text = String::new();
    for line in lines {
        for (column, cell) in line.iter().enumerate() {
            let width = width(column);
            let _ = match column {
                0 => write!(text, "{cell:width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}
