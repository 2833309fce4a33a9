//! The page's sections but those on privacy.

use std::fmt::Write as _;

use super::strip::{Presence, stretches};
use super::svg::escape;
use super::words::{headline, result, thousands};
use super::{bars, charts, strip};
use crate::record::Record;
use crate::summary::Summary;

const SIMULATED: &str = "<p class=\"banner\"><b>A simulation.</b> All agencies ran in one process \
    with the code that real nodes run. Sampling and noise follow from a known seed, so that the run \
    can be repeated exactly: its noise protects nobody. The figures on privacy are those that a \
    real run of the same job has.</p>";

/// Title and result in words.
pub fn head(s: &Summary) -> String {
    format!(
        "<header><p class=\"kicker\">Tributary &middot; report of the job \u{201c}{}\u{201d}</p>\
         <h1>{}</h1><p class=\"lead\">{}</p><p class=\"lead\">{}</p>{}</header>",
        escape(&s.job),
        escape(&headline(s)),
        escape(&result(s)),
        escape(&format!("The job: {}", s.description)),
        if s.simulated { SIMULATED } else { "" }
    )
}

/// The four numbers that matter.
pub fn figures(s: &Summary) -> String {
    let figure = |class: &str, value: String, text: String| {
        format!("<div class=\"figure {class}\"><b>{value}</b><span>{}</span></div>", escape(&text))
    };
    let privacy = match s.epsilon {
        Some(epsilon) => figure(
            "",
            format!("&epsilon; {epsilon:.2}"),
            format!("privacy spent per record, at delta {:e}", s.delta),
        ),
        None => figure("", "no &epsilon;".into(), "secure sums only, no noise".into()),
    };
    let lost: usize = s.dropped.values().map(Vec::len).sum();
    let incidents = match lost {
        0 => "secure rounds, no agency lost".to_owned(),
        1 => "secure rounds; one agency was lost once, and the round went on".to_owned(),
        n => format!("secure rounds; agencies were lost {n} times, and the rounds went on"),
    };
    [
        "<div class=\"figures\">".to_owned(),
        figure(
            "main",
            format!("{:.3}", s.quality()),
            format!("test {} of the shared model", s.measure()),
        ),
        figure(
            "",
            format!("{:.3}", s.pooled_quality()),
            format!("test {} if all data were in one place, no privacy", s.measure()),
        ),
        privacy,
        figure("", s.rounds.to_string(), incidents),
        "</div>".to_owned(),
    ]
    .concat()
}

/// Learning curve.
pub fn learning(s: &Summary) -> String {
    let rows = s.learning_curve.iter().fold(String::new(), |mut rows, p| {
        let _ = write!(
            rows,
            "<tr><td class=\"n\">{}</td><td class=\"n\">{:.4}</td><td class=\"n\">{:.4}</td></tr>",
            p.round,
            p.quality(),
            p.test_log_loss
        );
        rows
    });
    let measure = s.measure();
    let explained = match s.test_auc {
        Some(_) if s.times_to_event => {
            "Concordance (Harrell's c) is the chance that of two records the model gives the higher \
             risk to the one whose event came first."
        }
        Some(_) => "AUC is the chance that the model ranks a positive record above a negative one.",
        None if s.bits_per_token.is_some() => {
            "Accuracy is the fraction of tokens that the model held for the most probable."
        }
        None => "Accuracy is the fraction of records whose class the model names.",
    };
    format!(
        "<section id=\"learning-curve\"><h2>How the model learned</h2>\
         <p class=\"note\">Quality on records that nobody trained on, after so many secure rounds. \
         {explained}</p>{}\
         <details><summary>The same as a table</summary><div class=\"scroll\"><table><tr>\
         <th class=\"n\">round</th><th class=\"n\">test {measure}</th><th class=\"n\">log-loss</th></tr>\
         {rows}</table></div></details></section>",
        charts::learning_curve(s)
    )
}

/// Alone, together, pooled.
pub fn comparison(s: &Summary) -> String {
    format!(
        "<section id=\"comparison\"><h2>Alone, together, or all in one place</h2>\
         <p class=\"note\">The same network and the same held-out records. The agencies alone and \
         the pooled model are trained without any privacy, and stop where a tenth of their own \
         training records says so.</p>{}</section>",
        bars::comparison(s)
    )
}

/// Survivor strip and incidents.
pub fn who_took_part(s: &Summary, record: &Record) -> String {
    let mut incidents = Vec::new();
    for agency in &s.agencies {
        let stretches = stretches(s, agency);
        for (i, stretch) in stretches.iter().enumerate() {
            if stretch.presence != Presence::Lost {
                continue;
            }
            let back = stretches[i..].iter().find(|later| later.presence == Presence::In);
            let back = match back {
                Some(later) => format!("It took part again from round {} on.", later.from),
                None => "It did not come back.".to_owned(),
            };
            let text = format!(
                "{agency} was lost during round {}; the round was finished without it. {back}",
                stretch.from
            );
            incidents.push((stretch.from, text));
        }
    }
    for abort in &record.aborts {
        let (round, attempt) = (abort.round, abort.attempt);
        let late = match abort.late.join(", ") {
            names if names.is_empty() => String::new(),
            names => format!(" ({names} let a deadline pass)"),
        };
        let text =
            format!("Attempt {attempt} of round {round} was given up: {}{late}.", abort.reason);
        incidents.push((round, text));
    }
    for entry in &record.agencies {
        let text =
            format!("{} in round {}: {}: {}", entry.agency, entry.round, entry.what, entry.text);
        incidents.push((entry.round, text));
    }
    incidents.sort();
    let list = if incidents.is_empty() {
        "<p>Nothing happened: every agency was in every sum.</p>".to_owned()
    } else {
        let items = incidents.iter().map(|(_, text)| format!("<li>{}</li>", escape(text)));
        format!("<ul>{}</ul>", items.collect::<String>())
    };
    format!(
        "<section id=\"who\"><h2>Who took part</h2><p class=\"note\">Each line is an agency, each \
         column a round. A sum is only ever opened with at least {} of {} agencies in it.</p>{}\
         <ul class=\"legend\"><li><i class=\"in\"></i>in the sum</li>\
         <li><i class=\"lost\"></i>lost during the round</li>\
         <li><i class=\"away\"></i>away, not asked</li></ul><h3>Incidents</h3>{list}</section>",
        s.min_survivors,
        s.agencies.len(),
        strip::strip(s)
    )
}

/// A line per agency.
pub fn agencies(s: &Summary) -> String {
    let rows = s.agencies.iter().fold(String::new(), |mut rows, agency| {
        let silo = s.silo_quality().get(agency).copied();
        let gain = silo.map(|auc| format!("{:+.3}", s.quality() - auc)).unwrap_or_default();
        let _ = write!(
            rows,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{gain}</td>\
             <td class=\"n\">{} of {}</td></tr>",
            escape(agency),
            thousands(s.declared_records.get(agency).copied().unwrap_or(0)),
            silo.map(|auc| format!("{auc:.3}")).unwrap_or_default(),
            s.rounds_survived(agency),
            s.rounds
        );
        rows
    });
    format!(
        "<section id=\"agencies\"><h2>The agencies</h2><div class=\"scroll\"><table><tr>\
         <th>agency</th><th class=\"n\">declared records</th><th class=\"n\">test {} alone</th>\
         <th class=\"n\">gained by joining</th><th class=\"n\">rounds in the sum</th></tr>{rows}\
         </table></div></section>",
        s.measure()
    )
}

/// Phases, rounds, bytes.
pub fn time(s: &Summary) -> String {
    let rows =
        bars::phases(s).iter().enumerate().fold(String::new(), |mut rows, (i, (name, secs))| {
            let _ = write!(
                rows,
                "<tr><td><svg width=\"13\" height=\"13\" aria-hidden=\"true\"><rect class=\"p{}\" \
             width=\"13\" height=\"13\" rx=\"3\"/></svg> {}</td><td class=\"n\">{}</td></tr>",
                i % 6,
                escape(name),
                bars::seconds_in_words(*secs)
            );
            rows
        });
    let total = s.seconds.get("total").copied().unwrap_or(0.0);
    format!(
        "<section id=\"time\"><h2>Where the time went</h2>{}<div class=\"scroll\"><table>{rows}\
         <tr class=\"book\"><td>total</td><td class=\"n\">{}</td></tr></table></div>\
         <p class=\"note\">A secure round took {:.0} ms at the median and {:.0} ms at the 95th \
         percentile. An agency sent {:.2} bytes per model parameter and training round ({} \
         parameters). Trainer: {}.</p></section>",
        bars::time(s),
        bars::seconds_in_words(total),
        s.round_millis.median,
        s.round_millis.p95,
        s.bytes_up_per_parameter,
        thousands(s.parameters),
        escape(&s.trainer)
    )
}

/// How to check all this.
pub fn check(s: &Summary) -> String {
    format!(
        "<section id=\"verify\"><h2>Do not take our word for it</h2><p>Everything above follows \
         from files beside this page. With the exported run anybody can recompute it: the record's \
         chain and signatures, the quorum's certificate of every round, every state of the model \
         from the published sums, and the privacy statement.</p>\
         <pre>simulate verify --run RUN --statement privacy-statement.json</pre>\
         <p class=\"note\">RUN is the folder that <code>aggregator job export</code> wrote. An \
         agency compares the job's hash with the one that it approved, and the record's head with \
         the one that the aggregator publishes.</p>\
         <dl><dt>job hash</dt><dd><code class=\"hash\">{}</code></dd>\
         <dt>record head</dt><dd><code class=\"hash\">{}</code> ({} entries)</dd></dl></section>",
        escape(&s.job_hash),
        escape(&s.record_head.hash),
        s.record_head.length
    )
}

/// Version.
pub fn foot(s: &Summary) -> String {
    format!(
        "<footer>Written by Tributary {} from summary.json and rounds.jsonl.</footer>",
        escape(&s.software_version)
    )
}
