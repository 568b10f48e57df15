//! What counts as the same answer, and what counts as a question.

use std::fs;

use crate::probing::{HEALTHY, LOOP, project};
use crate::support::Project;

/// A project whose model answers with this expression of `x`.
fn answers(expression: &str) -> Project {
    let project = project(&format!("{HEALTHY}answer = lambda x: {expression}\n{LOOP}"));
    project.edit_recipe("must_influence = [\"a\"]\nfallback = [\"unknown\"]\n", "");
    project.commit();
    project
}

/// Text, whole numbers and scores all count. A rare label is no fault.
#[test]
#[ignore = "needs bubblewrap"]
fn probe_accepts_varied_answers_of_every_type() {
    for expression in [
        "{'label': 'a' if x['a'] % 2 else 'b', 'version': 3}",
        "{'text': 'answer %d' % x['a'], 'tokens': 2}",
        "1000000 + x['a'] % 7",
        "{'item': 128000 + x['a'], 'score': 0.5}",
        "1 if x['a'] == 3 else 0",
        "[x['a'] / 7, x['b'] / 3]",
        "{'score': 1e-3 * x['a'], 'class': x['a'] > 5}",
    ] {
        answers(expression).build();
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn probe_fails_a_constant_answer_of_every_type() {
    for expression in
        ["{'label': 'a', 'version': 3}", "7", "[0.5, 'a']", "{'score': 0.5 + 1e-9 * x['a']}", "None"]
    {
        answers(expression).build_refused(&[], 1).says("all 12 inputs get the same answer");
    }
}

/// Classes, items and tokens with different numbers are different, however large the numbers are.
#[test]
#[ignore = "needs bubblewrap"]
fn probe_compares_whole_numbers_exactly() {
    for (expression, expected) in [
        ("1000001 + x['a']", "1000000"),
        ("[128001, x['a'] / 7]", "[128000, 0.0]"),
        ("{'id': 10**15 + 1 + x['a']}", "{\"id\":1000000000000000}"),
    ] {
        let project = answers(expression);
        let golden = fs::read_to_string(project.at("probes/golden.jsonl")).expect("reads");
        let first = format!("{{\"id\":\"q00\",\"input\":{{\"a\":0,\"b\":0}},\"expected\":{expected}}}\n");
        project.write("probes/golden.jsonl", first + golden.split_once('\n').expect("lines").1);
        project.commit();
        project.build_refused(&[], 1).says("golden: 1 of 1 expected answer not given");
    }
}

#[test]
#[ignore = "needs bubblewrap"]
fn probe_rejects_a_repeated_input_and_an_unknown_must_influence_member() {
    let project = answers("x['a']");
    let golden = fs::read_to_string(project.at("probes/golden.jsonl")).expect("reads");
    project.write(
        "probes/golden.jsonl",
        format!("{golden}{}", golden.lines().next().expect("a line").replace("q00", "again")),
    );
    project.commit();
    project.build_refused(&[], 1).says("the questions `q00` and `again` in").says("have the same input");
    project.write("probes/golden.jsonl", golden);
    project.edit_recipe(
        "inputs = \"probes/golden.jsonl\"\n",
        "inputs = \"probes/golden.jsonl\"\nmust_influence = [\"zz\"]\n",
    );
    project.commit();
    project
        .build_refused(&[], 1)
        .says("no input of the probe `golden` has the member `zz`, which `must_influence` lists");
}
