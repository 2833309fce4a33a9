//! A privacy statement as a page of its own: self-contained, no scripts.
//!
//! Says what the statement says and checks nothing; verification is the statement's own business.

use std::fmt::Write as _;

use tributary_dp::{Claims, PLD_LABEL, PrivacyStatement, ReleaseKind, Unit};

use super::STYLE;
use super::svg::escape;
use crate::plan_report::adversary_in_words;

/// The page, as HTML. `verified` says whether every claim was recomputed just before.
pub fn statement_page(statement: &PrivacyStatement, verified: bool) -> String {
    let mut body = String::new();
    let unit = match statement.about.unit {
        Unit::Record => "one record",
        Unit::Person => "one person",
        Unit::Silo => "one agency",
    };
    let headline = match &statement.claims {
        Some(c) => format!(
            "Whether {unit} took part is protected with epsilon {:.3} at delta {:e}",
            c.epsilon, c.delta
        ),
        None => "This job gives no differential privacy".to_owned(),
    };
    let checked = if verified {
        "Every claim was recomputed from the public parameters below, and holds."
    } else {
        "The claims were not recomputed for this page."
    };
    let _ = write!(
        body,
        "<header><p class=\"kicker\">Privacy statement</p><h1>{}</h1><p class=\"lead\">{checked}\
         </p></header><main>",
        escape(&headline)
    );
    if let Some(claims) = &statement.claims {
        guarantees(&mut body, claims);
        releases(&mut body, claims);
    }
    list(&mut body, "Not covered", &statement.not_covered);
    list(&mut body, "Trust", &statement.trust);
    list(&mut body, "Cryptography", &statement.cryptography);
    let given = |hash: &Option<String>| hash.clone().unwrap_or_else(|| "not given".to_owned());
    let audit = statement
        .about
        .audit_lower_bound
        .map_or("none is attached".to_owned(), |a| format!("at least epsilon {a:.4} was measured"));
    let about = [
        format!("Neighbouring data sets: {}", statement.adjacency),
        format!("Audit: {audit}"),
        format!("Job: {}", given(&statement.about.job_hash)),
        format!("Budget book: {}", given(&statement.about.book_hash)),
        format!("Software: {}", statement.software),
    ];
    list(&mut body, "What it is about", &about);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>Privacy statement</title><style>{STYLE}</style>\
         </head><body>{body}</main></body></html>\n"
    )
}

fn guarantees(body: &mut String, claims: &Claims) {
    let _ = write!(
        body,
        "<section id=\"adversaries\"><h2>Against whom</h2><div class=\"scroll\"><table><tr><th>Who \
         looks</th><th>Noise shares unknown to them</th><th>Epsilon, {}</th><th>Epsilon, \
         {PLD_LABEL}</th></tr>",
        escape(&claims.nature)
    );
    let number = |n: Option<f64>| n.map_or("none stated".to_owned(), |n| format!("{n:.4}"));
    for a in &claims.adversaries {
        let _ = write!(
            body,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(adversary_in_words(a.adversary)),
            a.honest_shares,
            number(a.guarantee.as_ref().map(|g| g.epsilon.epsilon)),
            number(a.pld_estimate)
        );
    }
    let _ = write!(
        body,
        "</table></div><p class=\"note\">All at delta {:e}. The {} is proven and charged; the \
         {PLD_LABEL} is numerical and promises nothing.</p></section>",
        claims.delta,
        escape(&claims.nature)
    );
}

fn releases(body: &mut String, claims: &Claims) {
    body.push_str(
        "<section id=\"releases\"><h2>What is released</h2><div class=\"scroll\"><table>",
    );
    body.push_str(
        "<tr><th>Kind</th><th>Charged</th><th>Clip norm</th><th>Coordinates</th><th>Sampling rate\
         </th><th>Noise multiplier</th><th>Nodes</th><th>Fewest survivors</th><th>Colluders</th>\
         </tr>",
    );
    for claim in &claims.releases {
        let kind = match claim.kind {
            ReleaseKind::Statistics => "statistics",
            ReleaseKind::Training => "training",
            ReleaseKind::Evaluation => "evaluation",
        };
        let p = &claim.release.parameters;
        let _ = write!(
            body,
            "<tr><td>{kind}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td></tr>",
            claim.count,
            p.clip_norm,
            p.dimension,
            p.sampling_rate,
            p.noise_multiplier,
            p.cohort,
            p.min_survivors,
            p.assumed_colluders()
        );
    }
    body.push_str("</table></div></section>");
    let how = [
        format!("Mechanism: {}", claims.mechanism),
        format!("Sampling: {}", claims.sampling),
        format!("Accountant: {}, Renyi order {}", claims.accountant, claims.order),
        format!("Floating point: {}", claims.floating_point),
    ];
    list(body, "How", &how);
}

fn list(body: &mut String, title: &str, items: &[String]) {
    let _ = write!(body, "<section><h2>{title}</h2><ul>");
    for item in items {
        let _ = write!(body, "<li>{}</li>", escape(item));
    }
    body.push_str("</ul></section>");
}
