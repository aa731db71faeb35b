//! The table of variables that the constructs' tests read too: what they set is what the programs read, and no more.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

/// test/fixtures/environment.json
const TABLE: &str = include_str!("../../../test/fixtures/environment.json");

/// A program's part of the table.
pub struct Contract {
    examples: BTreeMap<String, String>,
}

impl Contract {
    /// The variables of the program that the table calls `owner`.
    ///
    /// # Panics
    ///
    /// Where the table is not of the form that it must have: it is a test's fixture.
    pub fn of(owner: &str) -> Self {
        let table: Vec<BTreeMap<String, String>> =
            serde_json::from_str(TABLE).unwrap_or_else(|error| panic!("environment.json: {error}"));
        let examples = table
            .into_iter()
            .filter(|row| row["owner"] == owner)
            .map(|row| (row["name"].clone(), row["example"].clone()));
        Self {
            examples: examples.collect(),
        }
    }

    /// The names of the program's variables.
    pub fn names(&self) -> BTreeSet<String> {
        self.examples.keys().cloned().collect()
    }

    /// The names, `TS_` first, that `parse` asks for when it finds the table's examples and, beside them, `others`.
    pub fn asked_for(
        &self,
        others: &[(&str, &str)],
        parse: impl FnOnce(&dyn Fn(&str) -> Option<String>),
    ) -> BTreeSet<String> {
        let asked = RefCell::new(BTreeSet::new());
        parse(&|name| {
            asked.borrow_mut().insert(name.to_owned());
            let other = || others.iter().find(|(other, _)| *other == name);
            self.examples
                .get(name)
                .cloned()
                .or_else(|| other().map(|(_, value)| (*value).to_owned()))
        });
        asked
            .into_inner()
            .into_iter()
            .filter(|name| name.starts_with("TS_"))
            .collect()
    }
}
