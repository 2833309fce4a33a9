//! Answers and sweeps as text.

use std::fmt;

use tributary_dp::PLD_LABEL;

use super::{Answer, Sweep};
use crate::plan_report::adversary_in_words;

const NOTE: &str = "The bound is proven and is what a node charges. The estimate is numerical, by \
privacy-loss\ndistributions: it shows how much the bound gives away, and must not be promised.";

fn number(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |v| format!("{v:.4}"))
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = |name: &str| if name == self.calculated { "  <- calculated" } else { "" };
        let (z, q) = (self.noise_multiplier, self.sampling_rate);
        writeln!(f, "noise multiplier z   {z:.6}{}", mark("noise multiplier"))?;
        writeln!(f, "sampling rate q      {q:.6}{}", mark("sampling rate"))?;
        writeln!(f, "rounds T             {}{}", self.rounds, mark("rounds"))?;
        writeln!(f, "delta                {:e}", self.delta)?;
        let bound = self.epsilon_bound;
        let order = self.order;
        writeln!(f, "epsilon, bound       {bound:.4} (order {order}){}", mark("epsilon"))?;
        writeln!(f, "epsilon, {PLD_LABEL}    {}", number(self.epsilon_estimate))?;
        if !self.adversaries.is_empty() {
            writeln!(f, "\n{:>10} {PLD_LABEL:>10}  against", "bound")?;
        }
        for a in &self.adversaries {
            let (bound, estimate) = (number(a.epsilon_bound), number(a.epsilon_estimate));
            let (who, shares) = (adversary_in_words(a.adversary), a.honest_shares);
            writeln!(f, "{bound:>10} {estimate:>10}  {who} ({shares} noise shares)")?;
        }
        if let Some(lanes) = &self.lanes {
            writeln!(
                f,
                "\nwide encoding: {} parameters in lanes of {} bits, {} bytes a \
                 parameter,\n{} bytes a node and round; one node's noise has sigma {:.0} units",
                lanes.dimension,
                lanes.bits,
                lanes.bytes_per_parameter,
                lanes.vector_bytes,
                lanes.sigma_local
            )?;
        }
        if !self.encodings.is_empty() {
            writeln!(f, "\nbytes against noise  bits  MB a round    noise")?;
        }
        for e in &self.encodings {
            let name = e.resolution.map_or("wide".to_owned(), |r| format!("compact = {r}"));
            let (megabytes, more) = (e.vector_bytes as f64 / 1e6, (e.relative_noise - 1.0) * 100.0);
            writeln!(f, "{name:<19} {:>5} {megabytes:>11.3} {:>+8.1} %", e.bits, more)?;
        }
        write!(f, "\n{NOTE}")
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "sampling rate {}, delta {:e}\n", self.sampling_rate, self.delta)?;
        let lanes = self.rows.iter().any(|r| r.lane_bits.is_some());
        let last = if lanes { "  lane bits" } else { "" };
        writeln!(f, "epsilon   rounds         z     bound  {PLD_LABEL}{last}")?;
        for r in &self.rows {
            write!(
                f,
                "{:>7} {:>8} {:>9} {:>9} {:>9}",
                r.epsilon,
                r.rounds,
                number(r.noise_multiplier),
                number(r.epsilon_bound),
                number(r.epsilon_estimate)
            )?;
            match r.lane_bits {
                Some(bits) => writeln!(f, " {bits:>10}")?,
                None => writeln!(f)?,
            }
        }
        write!(f, "\n{NOTE}")
    }
}
