//! Of which version a library's tables are: nothing else is asked of one that nobody has looked at.

use ::postgres::Client;

use super::reading::Reading;
use super::refusal::GONE;
use crate::libraries::{Unsaid, Version};
use crate::queue::Fault;
use crate::queue::sql::literal;

impl Reading<'_> {
    /// The version of its tables, which is one that is read.
    pub(super) fn told_version(&self, client: &mut Client) -> Result<i64, Fault> {
        let (version, called) = (&self.library.version, self.library.called);
        let (last, mut columns) = (version.to, version.columns);
        let told = match self.ask(client, &self.or_later(version.ask, columns)) {
            Err(_) if self.lacks_version(client) => None,
            told => told?,
        };
        let told = match (told, &version.unsaid) {
            (None, Some(Unsaid::ByParts { ask, columns: known })) if self.has_tables(client)? => {
                columns = *known;
                self.ask(client, &self.or_later(ask, columns))?
            }
            (told, _) => told,
        };
        let range = format!("{} to {} are read here", version.from, version.to);
        match told.as_deref().map(str::parse::<i64>) {
            Some(Ok(found)) if found < version.from => {
                let cut = version.cut.filter(|(first, _)| found < *first);
                let older = self.of(cut.map_or(version.older, |(_, older)| older));
                Err(Fault(format!(
                    "the tables of {called} are of version {found}, and {range}: {older}"
                )))
            }
            Some(Ok(found)) if found > last => {
                let names = format!(
                    "SELECT string_agg(DISTINCT attname, ', ' ORDER BY attname) {}",
                    self.other_columns(columns)
                );
                let names = match columns {
                    [] => None,
                    [..] => self.ask(client, &names)?,
                };
                Err(Fault(match names {
                    Some(names) => format!(
                        "the tables of {called} have columns that version {last} has not: {names}; nobody has looked at a later one yet: \
                         name those that are your own as [queue.library] columns, or install a later unwedge, whose `unwedge queue check` says what it reads"
                    ),
                    None => format!(
                        "the tables of {called} are of version {found}, and {range}: nobody has looked at a later one yet: \
                         install a later unwedge, whose `unwedge queue check` says what it reads"
                    ),
                }))
            }
            Some(Ok(found)) => Ok(found),
            Some(Err(_)) => {
                let other = format!(
                    "the tables of {called} say that they are of version {:?}: something else brought them there, which nobody has looked at",
                    told.unwrap_or_default()
                );
                let mend = match &version.unsaid {
                    Some(Unsaid::Lost { told, mend }) => {
                        format!(
                            "; where they are {called}'s own, {}",
                            self.put_back(client, told, mend)?
                        )
                    }
                    Some(Unsaid::ByParts { .. }) | None => String::new(),
                };
                Err(Fault(other + &mend))
            }
            None => self.nothing_says(client).and_then(|why| Err(Fault(why))),
        }
    }

    /// What puts back a version that was lost: with its number, where the catalogue proves it.
    pub(super) fn put_back(
        &self,
        client: &mut Client,
        told: &str,
        mend: &str,
    ) -> Result<String, Fault> {
        let told = self.ask(client, &self.of(told))?;
        let mend = self.filled(mend, &[("told", told.as_deref().unwrap_or("N"))]);
        Ok(match told {
            Some(_) => format!("{mend};"),
            None => format!("{mend}, with the number that its migrations brought for N"),
        })
    }

    /// Why no version is told, and what mends that.
    pub(super) fn nothing_says(&self, client: &mut Client) -> Result<String, Fault> {
        let called = self.library.called;
        if !self.has_tables(client)? {
            return Ok(format!(
                "nothing in the schema {:?} says which version of {called} it is: {}",
                self.schema(),
                self.whereabouts(client)
            ));
        }
        if let Some(Unsaid::Lost { told, mend }) = &self.library.version.unsaid {
            let mend = self.put_back(client, told, mend)?;
            return Ok(format!("the tables of {called} say no version: {mend}"));
        }
        let last = self.library.reads.last().map_or("", |it| it.name);
        let is_gone = self.lacks_version(client);
        let (is, only) = if is_gone {
            (GONE, "")
        } else {
            ("is empty, and no migration fills it again", "--data-only ")
        };
        Ok(format!(
            "the tables of {called} are there, and nothing says of which version: {last} {is}; {}",
            self.brought_back(&[last], only)
        ))
    }

    /// Whether the first of its relations is there.
    pub(super) fn has_tables(&self, client: &mut Client) -> Result<bool, Fault> {
        let first = self.regclass(self.library.reads.first().map_or("", |it| it.name));
        let told = self.ask(client, &format!("SELECT {first} IS NOT NULL"))?;
        Ok(told.as_deref() == Some("t"))
    }

    /// Whether its tables are there but for the one that says their version: another tool may have made them.
    pub(super) fn lacks_version(&self, client: &mut Client) -> bool {
        let [first, .., last] = self.library.reads else { return false };
        let (first, last) = (self.regclass(first.name), self.regclass(last.name));
        let question = format!("SELECT {last} IS NULL AND {first} IS NOT NULL");
        self.ask_after(client, &question).as_deref() == Some("t")
    }

    /// The version that a question tells, or the next after the last that was looked at, where the tables have a column that is
    /// none of these; where none are named, any will do.
    pub(super) fn or_later(&self, ask: &str, columns: &[&str]) -> String {
        let ask = self.of(ask);
        if columns.is_empty() {
            return ask;
        }
        let Version { from, to, .. } = self.library.version;
        let other = self.other_columns(columns);
        format!(
            "SELECT CASE WHEN v >= {from} AND EXISTS (SELECT 1 {other}) THEN {to} + 1 ELSE v END FROM ({ask}) AS told (v)"
        )
    }

    /// Where the columns are that are none of these, nor named by the configuration.
    pub(super) fn other_columns(&self, columns: &[&str]) -> String {
        let own = self.written.columns.iter().map(String::as_str);
        let known: Vec<String> = columns.iter().copied().chain(own).map(literal).collect();
        format!(
            "FROM pg_attribute WHERE attrelid IN ({}) AND attnum > 0 AND NOT attisdropped AND attname NOT IN ({})",
            self.read_relations(),
            known.join(", ")
        )
    }
}
