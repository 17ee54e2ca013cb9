//! Histograms of query durations, from differences of what pg_stat_statements counts up.
//!
//! Between two measurements a query was called n times and took t together: that counts as n queries of t/n. Sum and count
//! are exact as long as the server keeps the query's entry; an entry that it throws out takes along what was counted in
//! it since the last measurement.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::statements::Counters;

/// Upper bounds of the buckets in seconds; the last bucket has none.
pub const BOUNDS: [f64; 10] = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// Series of one tenant: of each type of query eleven buckets, sum and count.
pub const SERIES_PER_TENANT: usize = super::statements::QUERY_TYPES.len() * (BOUNDS.len() + 3);

/// A tenant's or the other tenants' queries of one type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Queries by [`BOUNDS`], each in one bucket only.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// Seconds.
    pub sum: f64,
}

impl Histogram {
    /// Queries of all buckets.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    fn observe(&mut self, calls: u64, seconds: f64) {
        let mean = seconds / calls as f64;
        let bucket = BOUNDS.iter().position(|bound| mean <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket] += calls;
        self.sum += seconds;
    }
}

/// Histograms by type of query.
type ByType = BTreeMap<&'static str, Histogram>;

/// All histograms, and what is needed to go on with them.
#[derive(Debug, Default)]
pub struct Durations {
    /// How many tenants have their own.
    max_tenants: usize,
    /// The last counters by role and query; none: nothing was read yet.
    last: Option<HashMap<String, HashMap<i64, Count>>>,
    types: HashMap<i64, &'static str>,
    /// By schema. Who has a place keeps it: a counter must not vanish and come back.
    detailed: BTreeMap<String, ByType>,
    others: ByType,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    calls: u64,
    seconds: f64,
}

/// What a tenant's queries have been run since the last time.
struct Added<'a> {
    schema: &'a str,
    calls: u64,
    /// By queryid.
    differences: Vec<(i64, Count)>,
}

impl Durations {
    /// With nothing in them; so many tenants get their own, those with most queries first.
    pub fn new(max_tenants: usize) -> Self {
        Self {
            max_tenants,
            ..Self::default()
        }
    }

    /// The queries among these whose type is not known yet.
    pub fn without_type(&self, counters: &[Counters]) -> Vec<i64> {
        let unknown: HashSet<i64> = counters
            .iter()
            .map(|c| c.queryid)
            .filter(|id| !self.types.contains_key(id))
            .collect();
        unknown.into_iter().collect()
    }

    /// Takes over the types of queries.
    pub fn learn(&mut self, types: HashMap<i64, &'static str>) {
        self.types.extend(types);
    }

    /// Counts what has been added since the last time; `schemas` has the schema of each tenant's role. The first time
    /// nothing is counted: nobody knows when it was.
    pub fn count(&mut self, counters: &[Counters], schemas: &HashMap<String, String>) {
        let now = by_role(counters);
        let there: HashSet<&str> = schemas.values().map(String::as_str).collect();
        // A place is free again when its tenant is gone.
        self.detailed.retain(|schema, _| there.contains(schema.as_str()));
        let first = self.last.is_none();
        let before = self.last.take().unwrap_or_default();
        let mut added: Vec<Added<'_>> = Vec::new();
        for (role, queries) in &now {
            let Some(schema) = schemas.get(role) else { continue };
            let old = before.get(role);
            let differences: Vec<(i64, Count)> = queries
                .iter()
                .map(|(id, count)| (*id, difference(old.and_then(|old| old.get(id)), *count)))
                .filter(|(_, count)| count.calls > 0)
                .collect();
            let calls = differences.iter().map(|(_, count)| count.calls).sum();
            if calls > 0 {
                added.push(Added {
                    schema,
                    calls,
                    differences,
                });
            }
        }
        added.sort_by(|a, b| b.calls.cmp(&a.calls).then(a.schema.cmp(b.schema)));
        for Added {
            schema, differences, ..
        } in added
        {
            let has_place = self.detailed.contains_key(schema) || self.detailed.len() < self.max_tenants;
            let own = if has_place {
                self.detailed.entry(schema.to_owned()).or_default()
            } else {
                &mut self.others
            };
            for (id, count) in differences {
                let histogram = own.entry(self.types.get(&id).copied().unwrap_or("other")).or_default();
                // The first time it only begins at 0, so that what comes is seen as an increase.
                if !first {
                    histogram.observe(count.calls, count.seconds);
                }
            }
        }
        if self.types.len() > 2 * counters.len() + 1000 {
            let known: HashSet<i64> = counters.iter().map(|c| c.queryid).collect();
            self.types.retain(|id, _| known.contains(id));
        }
        self.last = Some(now);
    }

    /// All histograms with schema and type of query; no schema: those of all tenants without a place of their own.
    pub fn histograms(&self) -> impl Iterator<Item = (Option<&str>, &'static str, &Histogram)> {
        let detailed = self
            .detailed
            .iter()
            .flat_map(|(schema, types)| types.iter().map(move |(kind, h)| (Some(schema.as_str()), *kind, h)));
        detailed.chain(self.others.iter().map(|(kind, h)| (None, *kind, h)))
    }
}

/// Several entries of one query, at top level and within functions, count together.
fn by_role(counters: &[Counters]) -> HashMap<String, HashMap<i64, Count>> {
    let mut roles: HashMap<String, HashMap<i64, Count>> = HashMap::new();
    for c in counters {
        let queries = match roles.get_mut(&c.role) {
            Some(queries) => queries,
            None => roles.entry(c.role.clone()).or_default(),
        };
        let count = queries.entry(c.queryid).or_default();
        count.calls += c.calls;
        count.seconds += c.total_time_ms / 1000.0;
    }
    roles
}

/// Counters that went back have begun anew.
fn difference(before: Option<&Count>, now: Count) -> Count {
    match before {
        Some(before) if before.calls <= now.calls => Count {
            calls: now.calls - before.calls,
            seconds: (now.seconds - before.seconds).max(0.0),
        },
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(role: &str, queryid: i64, calls: u64, total_time_ms: f64) -> Counters {
        Counters {
            role: role.to_owned(),
            queryid,
            calls,
            total_time_ms,
        }
    }

    fn schemas(tenants: &[&str]) -> HashMap<String, String> {
        tenants.iter().map(|t| (format!("{t}_user"), (*t).to_owned())).collect()
    }

    fn seen(durations: &Durations) -> Vec<(Option<String>, &'static str, u64, f64)> {
        durations
            .histograms()
            .map(|(schema, kind, h)| (schema.map(str::to_owned), kind, h.count(), h.sum))
            .collect()
    }

    #[test]
    fn differences_count_at_their_mean_and_the_first_reading_counts_nothing() {
        let mut durations = Durations::new(10);
        let all = schemas(&["a"]);
        let first = [counter("a_user", 1, 100, 5000.0)];
        assert_eq!(durations.without_type(&first), [1]);
        durations.learn([(1, "select"), (2, "insert")].into());
        durations.count(&first, &all);
        assert_eq!(seen(&durations), [(Some("a".into()), "select", 0, 0.0)]);
        // 10 calls of 20 ms on average, and a query that is new: all of it is new.
        durations.count(&[counter("a_user", 1, 110, 5200.0), counter("a_user", 2, 3, 0.9)], &all);
        let histograms: Vec<_> = durations.histograms().map(|(_, kind, h)| (kind, h.clone())).collect();
        assert_eq!(histograms[0].0, "insert");
        assert_eq!(histograms[0].1.buckets, [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(histograms[1].1.buckets, [0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0]);
        assert!((histograms[1].1.sum - 0.2).abs() < 1e-9, "{histograms:?}");
        // Reset on the server: what is there is new.
        durations.count(&[counter("a_user", 1, 4, 40_000.0)], &all);
        let (_, _, count, sum) = seen(&durations).remove(1);
        assert_eq!(count, 14);
        assert!((sum - 40.2).abs() < 1e-9, "{sum}");
        // Nothing new, and a role that is no tenant's.
        durations.count(&[counter("a_user", 1, 4, 40_000.0), counter("admin", 9, 5, 1.0)], &all);
        assert_eq!(seen(&durations).len(), 2);
        assert_eq!(seen(&durations)[1].2, 14);
    }

    #[test]
    fn entries_of_one_query_count_together() {
        let mut durations = Durations::new(10);
        let all = schemas(&["a"]);
        durations.count(&[], &all);
        durations.count(&[counter("a_user", 1, 2, 1.0), counter("a_user", 1, 3, 1.0)], &all);
        assert_eq!(seen(&durations), [(Some("a".into()), "other", 5, 0.002)]);
    }

    #[test]
    fn places_are_few_kept_and_given_to_the_busiest() {
        let mut durations = Durations::new(2);
        let all = schemas(&["a", "b", "c"]);
        durations.count(&[], &all);
        let round = |a, b, c| {
            [
                counter("a_user", 1, a, 1.0),
                counter("b_user", 1, b, 1.0),
                counter("c_user", 1, c, 1.0),
            ]
        };
        durations.count(&round(1, 5, 9), &all);
        let counts = |durations: &Durations| -> Vec<(Option<String>, u64)> {
            seen(durations)
                .into_iter()
                .map(|(schema, _, count, _)| (schema, count))
                .collect()
        };
        let name = |s: &str| Some(s.to_owned());
        assert_eq!(counts(&durations), [(name("b"), 5), (name("c"), 9), (None, 1)]);
        // However busy `a` gets, nobody has to go.
        durations.count(&round(1001, 5, 9), &all);
        assert_eq!(counts(&durations), [(name("b"), 5), (name("c"), 9), (None, 1001)]);
        // `c` is dropped: its place is free for whoever runs queries next.
        durations.count(&round(1003, 5, 9), &schemas(&["a", "b"]));
        assert_eq!(counts(&durations), [(name("a"), 2), (name("b"), 5), (None, 1001)]);
        let mut none = Durations::new(0);
        none.count(&[], &all);
        none.count(&round(1, 2, 3), &all);
        assert_eq!(counts(&none), [(None, 6)]);
    }
}
