//! A calculation for people: the numbers with what they mean, and in plain words what the aggregator
//! can and cannot learn at these settings.

use std::fmt;

use super::Calculation;

impl fmt::Display for Calculation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.nodes;
        writeln!(
            f,
            "secure aggregation among {n} agencies, {} lanes of {} bits",
            self.dim, self.bits
        )?;
        writeln!(f, "\nthresholds")?;
        let peers = if self.graph == "complete" {
            "every other agency".to_owned()
        } else {
            format!("{} others, drawn by a coin of all agencies", self.degree)
        };
        writeln!(f, "  an agency shares keys with       {peers}")?;
        writeln!(f, "  C, agencies that may collude     {}", self.corrupt)?;
        writeln!(f, "  signatures of a quorum           {}", self.quorum)?;
        writeln!(f, "  shares that open a seed          {} of {}", self.shamir_t, self.holders())?;
        writeln!(f, "  sums are opened with at least    {} of {n} agencies", self.u_min)?;
        writeln!(f, "  a lane takes values up to        {} from every agency", self.max_value)?;
        writeln!(f, "\ntolerated")?;
        writeln!(
            f,
            "  {} of the {} agencies invited to a round may vanish at any point; with one more the \
             attempt ends with its reason and the next begins with fresh noise and masks",
            self.tolerated_dropouts, self.cohort
        )?;
        self.fmt_costs(f)?;
        self.fmt_meaning(f)
    }
}

impl Calculation {
    fn holders(&self) -> u16 {
        if self.graph == "complete" { self.cohort } else { self.degree }
    }

    fn fmt_costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = &self.traffic;
        writeln!(f, "\ntraffic of a round, frames only")?;
        writeln!(
            f,
            "  an agency sends                  {} + {} of control",
            bytes(t.vector_up),
            bytes(t.control_up)
        )?;
        writeln!(
            f,
            "  an agency receives               {} + {} of control",
            bytes(t.sum_down),
            bytes(t.control_down)
        )?;
        writeln!(f, "  the aggregator moves             {}", bytes(t.aggregator))?;
        writeln!(f, "\ncomputation of a round on one core of this machine, masks only")?;
        writeln!(f, "  an agency puts its masks on in   {}", seconds(self.times.node_masking))?;
        writeln!(f, "  the aggregator takes them off in {}", seconds(self.times.unmasking))?;
        writeln!(
            f,
            "  with the expected dropouts in    {}",
            seconds(self.times.unmasking_with_dropouts)
        )
    }

    fn fmt_meaning(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (c, h) = (self.corrupt, self.honest_survivors);
        writeln!(f, "\nwhat the aggregator can learn")?;
        writeln!(
            f,
            "  - one sum a round, over at least {} agencies, however it cheats",
            self.u_min
        )?;
        if c > 0 {
            writeln!(
                f,
                "  - with up to {c} agencies on its side: that sum less their own vectors, which is a \
                 sum over at least {h} honest agencies"
            )?;
        }
        writeln!(f, "  - who took part, when, from where, and how many bytes were sent")?;
        writeln!(f, "what it cannot learn")?;
        writeln!(
            f,
            "  - any single agency's vector, as long as no more than {c} of {} agencies help it",
            self.nodes
        )?;
        writeln!(
            f,
            "  - anything of a round that is over, from a node that is broken into afterwards; also \
             not with a quantum computer that records everything today"
        )?;
        writeln!(f, "what secure aggregation alone does not promise")?;
        write!(
            f,
            "  - that a sum over {h} honest agencies hides one of them well: that is what the noise of \
             differential privacy is for; that an agency sends a useful vector; that a round ends"
        )?;
        if h < 5 {
            write!(
                f,
                "\n  NOTE: only {h} honest agencies are sure to be in a sum; with so few each one's part \
                 is large. Use noise, or enrol more agencies"
            )?;
        }
        Ok(())
    }
}

/// A number of bytes as people say it.
pub(super) fn bytes(count: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let (mut value, mut name) = (count as f64, "B");
    for unit in units {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        name = unit;
    }
    if value < 10.0 { format!("{value:.1} {name}") } else { format!("{value:.0} {name}") }
}

/// A duration as people say it.
pub(super) fn seconds(s: f64) -> String {
    match s {
        s if s < 1e-3 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use crate::secagg::tests::settings;
    use crate::secagg::{Rates, Settings, calculate};

    use super::*;

    #[test]
    fn it_says_in_words_what_is_and_is_not_learned() {
        let text = calculate(&settings(10), &Rates::of_reference()).unwrap().to_string();
        for words in [
            "over at least 8 agencies, however it cheats",
            "with up to 2 agencies on its side",
            "at least 6 honest agencies",
            "7 of 10",
            "2 of the 10 agencies",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("NOTE"));
        let few = Settings { min_survivors: 4, ..settings(5) };
        assert!(calculate(&few, &Rates::of_reference()).unwrap().to_string().contains("NOTE"));
    }

    #[test]
    fn numbers_are_said_as_people_say_them() {
        assert_eq!([bytes(7), bytes(1500), bytes(40_000_000)], ["7 B", "1.5 kB", "40 MB"]);
        assert_eq!([seconds(2e-6), seconds(0.0123), seconds(61.2)], ["2 us", "12.3 ms", "61.2 s"]);
    }
}
