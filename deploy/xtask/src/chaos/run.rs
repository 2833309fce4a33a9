//! One job while processes die, and what is checked afterwards.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::ChaosArgs;
use super::books::{Book, rounds};
use super::draw::{Draw, Victim};
use super::federation::Federation;
use super::job;
use super::model;
use super::summary::Summary;
use crate::demo::State;
use crate::support::interrupt;

/// Without a finished round for this long after the last kill, something is stuck.
const STALL: Duration = Duration::from_secs(120);
/// A parameter may differ from the undisturbed model's by this much: noise, and who was in a sum.
/// A sum that a wrong mask has gone into is uniform over all lanes, which is thousands away.
const FAR: f64 = 20.0;
/// Longest time between two kills, and until a dead process is started again, milliseconds.
const CALM: u64 = 700;
const DEAD: u64 = 500;
const POLL: Duration = Duration::from_millis(60);

/// Runs a job with nobody disturbing it; returns its model.
pub fn undisturbed(federation: &mut Federation, rounds: u32) -> Result<Vec<f32>> {
    let id = federation.submit(&job::text(0, rounds))?;
    let started = Instant::now();
    loop {
        federation.expect_running()?;
        let status = federation.status(&id)?;
        match status.state {
            State::Done => break,
            State::Failed => bail!("the undisturbed job failed: {}", status.reason),
            _ => ensure!(started.elapsed() < STALL, "the undisturbed job is stuck: {status:?}"),
        }
        interrupt::sleep(POLL)?;
    }
    let (folder, refused) = federation.verified(&id)?;
    if let Some(refused) = refused {
        bail!("the undisturbed job does not verify: {refused}");
    }
    model::parameters(&folder.join("model.safetensors"))
}

/// Runs a job while processes die; adds what came of it to the summary and says it in a line.
pub fn disturbed(
    federation: &mut Federation,
    args: &ChaosArgs,
    draw: &mut Draw,
    summary: &mut Summary,
    reference: &[f32],
) -> Result<String> {
    let begun = Instant::now();
    let before = summary.kills;
    let id = federation.submit(&job::text(summary.runs + 1, args.rounds))?;
    let (mut newest, mut lost, mut moved) = (0, 0, Instant::now());
    let mut next = Instant::now() + draw.millis(CALM);
    let status = loop {
        federation.revive(summary.kills >= args.kills)?;
        federation.expect_running()?;
        let status = federation.status(&id)?;
        if status.round < newest {
            lost += u64::from(newest - status.round);
            summary.findings.push(format!("{id}: back from round {newest} to {}", status.round));
        }
        if status.round != newest {
            (newest, moved) = (status.round, Instant::now());
        }
        if matches!(status.state, State::Done | State::Failed) {
            break status;
        }
        if moved.elapsed() > STALL {
            bail!("{id} is stuck after round {newest}: {status:?}");
        }
        if summary.kills < args.kills && Instant::now() >= next {
            let victim = draw.victim(federation.nodes());
            let killed = federation.kill(victim, draw.millis(DEAD))?;
            summary.kills += killed;
            match victim {
                Victim::Aggregator => summary.kills_of_the_aggregator += killed,
                Victim::All => {
                    summary.kills_of_the_aggregator += 1;
                    summary.kills_of_all_at_once += 1;
                }
                Victim::Node(_) => {}
            }
            next = Instant::now() + draw.millis(CALM);
        }
        interrupt::sleep(POLL)?;
    };
    federation.revive(true)?;
    summary.runs += 1;
    summary.rounds += u64::from(status.round);
    if status.state == State::Failed {
        lost += u64::from(status.rounds.saturating_sub(status.round)).max(1);
        summary.findings.push(format!("{id} failed: {}", status.reason));
    }
    if status.round > 0 {
        check(federation, &id, status.round, reference, summary, &mut lost)?;
    }
    summary.lost_rounds += lost;
    summary.seconds += begun.elapsed().as_secs_f64();
    let kills = summary.kills - before;
    let state = if status.state == State::Done { "done" } else { "FAILED" };
    Ok(format!(
        "{id}: {state}, {} rounds, {kills} kills, {:.1} s",
        status.round,
        begun.elapsed().as_secs_f64()
    ))
}

/// Holds the evidence against itself and against every agency's book.
fn check(
    federation: &Federation,
    id: &str,
    round: u32,
    reference: &[f32],
    summary: &mut Summary,
    lost: &mut u64,
) -> Result<()> {
    let (folder, refused) = federation.verified(id)?;
    if let Some(refused) = refused {
        summary.wrong_sums += 1;
        summary.findings.push(format!("{id} does not verify: {refused}"));
    }
    let distance =
        model::distance(reference, &model::parameters(&folder.join("model.safetensors"))?);
    summary.model_distance = summary.model_distance.max(distance);
    if distance > FAR {
        summary.wrong_sums += 1;
        summary
            .findings
            .push(format!("{id}: the model is {distance} away from the undisturbed one"));
    }
    let record = fs::read_to_string(folder.join("rounds.jsonl")).context("no record")?;
    let rounds = rounds(&record)?;
    if rounds.len() as u64 != u64::from(round) {
        *lost += u64::from(round).abs_diff(rounds.len() as u64);
        summary.findings.push(format!("{id}: {} of {round} rounds in the record", rounds.len()));
    }
    let books = settled(federation)?;
    let parse = |(agency, text): &(String, String)| Ok((agency.clone(), Book::parse(text)?));
    let books: Vec<(String, Book)> = books.iter().map(parse).collect::<Result<_>>()?;
    // The jobs run one after the other, and this is the last.
    let newest = books.iter().find_map(|(_, book)| book.newest());
    let hash = newest.context("no agency has charged for anything")?.to_owned();
    for (agency, book) in books {
        let (over, under) = book.check(&agency, &hash, &rounds);
        summary.attempts += book.attempts(&hash);
        summary.overcharged += over.len() as u64;
        summary.undercharged += under.len() as u64;
        summary.findings.extend(over);
        summary.findings.extend(under);
        let (spent, committed) = federation.budget(&agency)?;
        if spent != committed {
            summary.overcharged += 1;
            summary.findings.push(format!("{agency}: {committed} committed, {spent} spent"));
        }
    }
    Ok(())
}

/// The books once every agency has heard that the job is over: nothing is held back then.
fn settled(federation: &Federation) -> Result<Vec<(String, String)>> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut open = 0;
        let books = federation.books()?;
        for (agency, _) in &books {
            let (spent, committed) = federation.budget(agency)?;
            open += u32::from(spent != committed);
        }
        if open == 0 || Instant::now() >= deadline {
            return Ok(books);
        }
        interrupt::sleep(POLL)?;
    }
}
