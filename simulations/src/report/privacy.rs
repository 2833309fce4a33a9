//! The sections on privacy: what was spent, who is protected against whom, and what is not covered.

use std::fmt::Write as _;

use tributary_dp::Adversary;

use super::charts;
use super::svg::escape;
use super::words::{adversary, odds};
use crate::summary::Summary;

/// Epsilon by round.
pub fn spent(s: &Summary) -> String {
    let Some(epsilon) = s.epsilon else {
        return "<section id=\"privacy-spent\"><h2>Privacy spent</h2><p><b>This run promises no \
                differential privacy.</b> Secure aggregation hid each agency's vector within a \
                sum, but no noise hides what the sums and the model say about a record.</p>\
                </section>"
            .to_owned();
    };
    let plan = s.planned_epsilon.unwrap_or(epsilon);
    let shown = s.epsilon_by_round.last().copied().unwrap_or_default();
    format!(
        "<section id=\"privacy-spent\"><h2>Privacy spent</h2><p class=\"note\">Every agency keeps a \
         budget book and pays before a vector leaves. The curve is what the record shows, per \
         record after each round; the dashed line is what the approved plan allowed at most.</p>{}\
         <p>The record shows {} attempts, {shown:.2} of the {plan:.2} that the agencies reserved and \
         that the statement claims: the record is the aggregator's word.</p>\
         </section>",
        charts::privacy_spent(s),
        s.attempts
    )
}

/// The privacy statement in words.
pub fn promised(s: &Summary) -> String {
    if s.epsilon.is_none() {
        return String::new();
    }
    let rows = s.epsilon_against.iter().fold(String::new(), |mut rows, line| {
        let book = line.adversary == Adversary::Colluders;
        let (epsilon, meaning) = match line.epsilon {
            Some(epsilon) => (format!("{epsilon:.2}"), odds(epsilon)),
            None => ("none stated".to_owned(), "no guarantee".to_owned()),
        };
        let _ = write!(
            rows,
            "<tr{}><td>{}{}</td><td class=\"n\">{}</td><td class=\"n\">{epsilon}</td><td>{}</td></tr>",
            if book { " class=\"book\"" } else { "" },
            escape(&adversary(s, line.adversary)),
            if book { " (what agencies approve)" } else { "" },
            line.honest_shares,
            escape(&meaning)
        );
        rows
    });
    let statistics = if s.rounds > s.training_rounds {
        "<li>Means and scales of the inputs were computed the same way, and paid for.</li>"
    } else {
        ""
    };
    let noise = s.noise_multiplier.map_or(String::new(), |z| format!("{z:.3}"));
    format!(
        "<section id=\"privacy-statement\"><h2>Who is protected against whom</h2>\
         <p>The promise is about one record: whether it was in an agency's table or not. Whoever \
         looks at everything that this job released, and knows all other records, learns little \
         about that one: the odds that they would give for its presence change by a bounded \
         factor, except with probability {:e}. The factor depends on who is looking, because an \
         accomplice knows its own share of the noise.</p>\
         <div class=\"scroll\"><table><tr><th>against</th><th class=\"n\">noise shares it does not \
         know</th><th class=\"n\">epsilon</th><th>in words</th></tr>{rows}</table></div>\
         <h3>How</h3><ul>\
         <li>In each training round every record takes part with probability {}, independently and \
         in secret.</li>\
         <li>A record's gradient is cut to length {}, so that no record can pull far.</li>\
         <li>Every agency adds its own share of discrete Gaussian noise before its vector is \
         masked; the noise multiplier that is charged is {noise}.</li>\
         <li>The aggregator only ever sees sums over at least {} agencies.</li>\
         {statistics}</ul>\
         <h3>What is not covered</h3><ul>\
         <li>Choosing hyperparameters on the same records outside this job.</li>\
         <li>What is public by design: column names, categories, bounds, declared record counts, \
         who took part when.</li>\
         <li>A person with records at several agencies, or several records at one: each record is \
         protected singly.</li>\
         <li>Other jobs on the same data: the agency's budget book adds them up.</li>\
         <li>The AUCs on this page: those of the pooled model and of each agency alone were computed \
         from the raw tables for this comparison, and are not part of the release.</li></ul>\
         <p class=\"note\">The full statement with every parameter, assumption and deduction is \
         privacy-statement.json; epsilon is a proven bound, not an estimate.</p></section>",
        s.delta, s.sampling_rate, s.clip_norm, s.min_survivors
    )
}
