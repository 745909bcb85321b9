//! Finds the rows that a point lies between: the corners of the Delaunay simplex around it.
//!
//! Of all ways to write the point as a weighted mean of sites (weights of at least 0 that sum to 1),
//! the one of least mean squared distance uses the corners of the Delaunay simplex around it, and
//! there is none at all outside the convex hull. So one small linear program answers both "is it
//! inside?" and "between which?". It is solved by the simplex method in two phases with Bland's rule,
//! which never cycles (Bland, 1977). For the lifting see Brown, "Voronoi diagrams from convex hulls",
//! 1979.

/// Sums of offsets smaller than this count as none, in doublings of a knob.
const TOLERANCE: f64 = 1e-9;

/// Weights smaller than this are 0 that was rounded.
const ROUNDING: f64 = 1e-12;

/// The corners of a box lie on one sphere: every way to cut it into simplices is a Delaunay one. This
/// hair of a skew makes one of them the best, the same for every point asked for.
const SKEW: f64 = 0.01;

/// Far more than any table takes; rounding errors could make the search run for ever.
const MAX_PIVOTS: usize = 10_000;

/// The sites around `at` and their weights, which sum to 1; the weighted mean of their places is
/// `at`. `None` outside the convex hull of `sites`. All places have as many axes as `at`.
pub(super) fn enclosing(sites: &[&[f64]], at: &[f64]) -> Option<Vec<(usize, f64)>> {
    let mut columns: Vec<Column> =
        sites.iter().enumerate().map(|(site, place)| Column::new(site, place, at)).collect();
    // Bland's rule takes the first column that helps, so near ones go first.
    columns.sort_by(|a, b| a.cost.total_cmp(&b.cost).then(a.site.cmp(&b.site)));
    let mut program = Program::new(columns, at.len() + 1);
    for _ in 0..MAX_PIVOTS {
        let Some(entering) = program.entering() else { return program.solution() };
        let leaving = program.leaving(entering)?;
        program.pivot(entering, leaving);
    }
    None
}

/// One site in the linear program.
struct Column {
    site: usize,
    /// One entry for each axis, then one for the sum of the weights.
    entries: Vec<f64>,
    /// Reduced cost in squared distance.
    cost: f64,
    /// Reduced cost in how far the constraints are from being met.
    unmet: f64,
}

impl Column {
    fn new(site: usize, place: &[f64], at: &[f64]) -> Self {
        let mut entries: Vec<f64> = place.iter().zip(at).map(|(place, at)| place - at).collect();
        let squares: f64 = entries.iter().map(|offset| offset * offset).sum();
        let sum: f64 = entries.iter().sum();
        let crossed = (sum * sum - squares) / 2.0;
        entries.push(1.0);
        let unmet = -entries.iter().sum::<f64>();
        Self { site, entries, cost: squares - SKEW * crossed, unmet }
    }
}

/// The linear program in tableau form.
struct Program {
    columns: Vec<Column>,
    /// Which column each constraint's basic variable is; `None`: how far the constraint is unmet.
    basis: Vec<Option<usize>>,
    /// The value of each constraint's basic variable, never negative.
    values: Vec<f64>,
}

impl Program {
    fn new(columns: Vec<Column>, constraints: usize) -> Self {
        // Every sum of offsets has to be 0, the sum of the weights 1.
        let mut values = vec![0.0; constraints];
        if let Some(last) = values.last_mut() {
            *last = 1.0;
        }
        Self { columns, basis: vec![None; constraints], values }
    }

    /// How far the constraints are from being met, all together.
    fn unmet(&self) -> f64 {
        self.basis.iter().zip(&self.values).filter(|(basic, _)| basic.is_none()).map(|(_, value)| value).sum()
    }

    /// The first column that brings the constraints nearer to being met; once they are met, the first
    /// that brings the cost down and keeps them so. `None`: there is no better.
    fn entering(&self) -> Option<usize> {
        let nearer = self.columns.iter().position(|column| column.unmet < -TOLERANCE);
        if nearer.is_some() || self.unmet() > TOLERANCE {
            return nearer;
        }
        self.columns.iter().position(|column| column.unmet < TOLERANCE && column.cost < -TOLERANCE)
    }

    /// The constraint whose basic variable reaches 0 first as the column's weight grows; of equals
    /// the one of the first column. `None` never happens: the weights sum to 1.
    fn leaving(&self, entering: usize) -> Option<usize> {
        let entries = &self.columns.get(entering)?.entries;
        let reaching = self.values.iter().zip(entries).zip(&self.basis).enumerate();
        reaching
            .filter(|(_, ((_, entry), _))| **entry > TOLERANCE)
            .map(|(constraint, ((value, entry), basic))| (value / entry, *basic, constraint))
            .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))
            .map(|(_, _, constraint)| constraint)
    }

    fn pivot(&mut self, entering: usize, leaving: usize) {
        let pivot = &self.columns[entering];
        let (factors, cost, unmet) = (pivot.entries.clone(), pivot.cost, pivot.unmet);
        let scale = factors[leaving];
        for column in &mut self.columns {
            let share = column.entries[leaving] / scale;
            if share == 0.0 {
                continue;
            }
            for (entry, factor) in column.entries.iter_mut().zip(&factors) {
                *entry -= share * factor;
            }
            column.entries[leaving] = share;
            column.cost -= share * cost;
            column.unmet -= share * unmet;
        }
        let step = self.values[leaving] / scale;
        for (value, factor) in self.values.iter_mut().zip(&factors) {
            let rest = *value - step * factor;
            // What rounding leaves of 0 would upset the rule that of equals the first goes.
            *value = if rest < ROUNDING { 0.0 } else { rest };
        }
        self.values[leaving] = step;
        self.basis[leaving] = Some(entering);
    }

    /// The sites that weigh anything; `None` when the constraints can't be met.
    fn solution(&self) -> Option<Vec<(usize, f64)>> {
        if self.unmet() > TOLERANCE {
            return None;
        }
        let mut weights: Vec<(usize, f64)> = self
            .basis
            .iter()
            .zip(&self.values)
            .filter_map(|(basic, value)| Some((self.columns.get((*basic)?)?.site, *value)))
            .filter(|(_, weight)| *weight > TOLERANCE)
            .collect();
        weights.sort_by_key(|(site, _)| *site);
        let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
        weights.iter_mut().for_each(|(_, weight)| *weight /= sum);
        Some(weights)
    }
}
