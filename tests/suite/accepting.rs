//! `modelseal probe`: the deployer probes a verified release with its own commands.

use std::fs;
use std::path::Path;

use crate::probing::{HEALTHY, LOOP, healthy};
use crate::support::Project;
use crate::support::run::Outcome;

const POLICY: &str = r#"
model = "wine"
[[signer]]
name = "ci"
key = "ci.pub"
[probe.golden]
command = ["python3", "serve.py"]
inputs = "golden.jsonl"
cwd = "serving"
timeout = "20s"
"#;

/// A release, a policy and the serving code that answers in production.
fn deployment(serving: &str) -> (Project, String) {
    let project = healthy();
    let archive = project.build();
    let root = project.root().to_path_buf();
    fs::create_dir(root.join("serving")).expect("creates");
    fs::write(root.join("serving/serve.py"), serving).expect("writes");
    fs::copy(project.at("probes/golden.jsonl"), root.join("golden.jsonl")).expect("copies");
    fs::write(root.join("gate.toml"), POLICY).expect("writes");
    let archive = archive.to_string_lossy().into_owned();
    (project, archive)
}

fn probe(project: &Project, target: &str, more: &[&str]) -> Outcome {
    let policy = project.root().join("gate.toml").to_string_lossy().into_owned();
    let arguments = [&["probe", target, "--policy", &policy], more].concat();
    project.modelseal(&arguments).run()
}

#[track_caller]
fn ends(outcome: Outcome, code: i32) -> Outcome {
    assert_eq!(outcome.code, Some(code), "{}", outcome.all());
    outcome
}

#[test]
#[ignore = "needs bubblewrap"]
fn probe_accepts_a_service_that_gives_the_sealed_answers() {
    let (project, archive) = deployment(&format!("{HEALTHY}{LOOP}"));
    ends(probe(&project, &archive, &[]), 0)
        .says("running probe golden: `python3 serve.py`")
        .says("probe.golden.answers")
        .says("12 questions, same answers as sealed");
    ends(probe(&project, &archive, &["--format", "json"]), 0).json();
    let unpacked = project.unpack(Path::new(&archive));
    ends(probe(&project, &unpacked.to_string_lossy(), &[]), 0);
}

#[test]
#[ignore = "needs bubblewrap"]
fn probe_hides_the_sealed_answers_and_rejects_missing_isolation() {
    let looks = "assert not os.listdir(os.path.join(os.environ['MODELSEAL_ARTIFACT'], '.modelseal'))\n";
    let (project, archive) = deployment(&format!("{HEALTHY}{looks}{LOOP}"));
    ends(probe(&project, &archive, &[]), 0);
    let (project, archive) = deployment(&format!("{HEALTHY}{LOOP}"));
    let demanding = POLICY.replace("timeout =", "isolated = true\ntimeout =");
    fs::write(project.root().join("gate.toml"), demanding).expect("writes");
    ends(probe(&project, &archive, &[]), 0);
    ends(probe(&project, &archive, &["--insecure-no-isolation"]), 1)
        .says("not isolated: the model could have");
}

#[test]
#[ignore = "needs bubblewrap"]
fn probe_rejects_a_service_whose_answers_differ_from_the_sealed_ones() {
    let wired_wrongly =
        format!("{HEALTHY}\nanswer = lambda x: {{\"class\": \"no\", \"score\": 0.5}}\n{LOOP}");
    let (project, archive) = deployment(&wired_wrongly);
    let outcome = ends(probe(&project, &archive, &[]), 1);
    outcome
        .says("its answers differ from the sealed ones: the answer to `q00` differs: 0 → 0.5")
        .claims_no_success();
    outcome.says("all 12 inputs get the same answer");
    ends(probe(&project, &archive, &["--format", "json"]), 1).json();

    let (project, archive) = deployment(&format!("{HEALTHY}\nprint('ready')\n{LOOP}"));
    ends(probe(&project, &archive, &[]), 1).says("a line is not an answer: `ready`");
    let write = "open(os.path.join(os.environ['MODELSEAL_ARTIFACT'], 'config.json'), 'a').write(' ')\n";
    let (project, archive) = deployment(&format!("{HEALTHY}{write}{LOOP}"));
    ends(probe(&project, &archive, &[]), 3).says("failed: exit code 1");
    ends(probe(&project, &archive, &["--insecure-no-isolation"]), 1)
        .says("changed the artifact while it ran");

    fs::write(project.root().join("golden.jsonl"), "{\"id\":\"q\",\"input\":{\"a\":1,\"b\":1}}\n")
        .expect("writes");
    ends(probe(&project, &archive, &[]), 1)
        .says("the questions differ from those asked when the release was built");
}

#[test]
#[ignore = "needs bubblewrap"]
fn probe_is_inconclusive_if_the_service_does_not_start_or_answer_in_time() {
    let (project, archive) = deployment("import time\ntime.sleep(1000)\n");
    let policy = project.root().join("gate.toml");
    let set = |from: &str, to: &str| fs::write(&policy, POLICY.replace(from, to)).expect("writes");
    set("20s", "1s");
    ends(probe(&project, &archive, &[]), 3).says("did not end within 1 s");
    set("python3", "no-such-program");
    ends(probe(&project, &archive, &[]), 3);
    set("command = [\"python3\", \"serve.py\"]", "");
    ends(probe(&project, &archive, &[]), 2).says("no probe in the policy");
    set("inputs = \"golden.jsonl\"", "");
    ends(probe(&project, &archive, &[]), 2).says("a `command` needs `inputs`");
    set("golden.jsonl", "nowhere.jsonl");
    ends(probe(&project, &archive, &[]), 2).says("cannot read the question file");
}

#[test]
#[ignore = "needs bubblewrap"]
fn probe_does_not_start_the_service_for_a_rejected_release() {
    let (project, archive) = deployment("import pathlib\npathlib.Path('canary').write_text('x')\n");
    let mut bytes = fs::read(&archive).expect("reads");
    let last = bytes.len() - 2000;
    bytes[last] ^= 1;
    let broken = project.out("broken.tar");
    fs::write(&broken, bytes).expect("writes");
    let broken = broken.to_string_lossy().into_owned();
    let outcome = ends(probe(&project, &broken, &["--insecure-no-isolation"]), 1);
    assert!(!outcome.all().contains("running probe"), "{}", outcome.all());
    assert!(!project.root().join("serving/canary").exists());
    let policy = POLICY.replace("\"wine\"", "\"beer\"");
    fs::write(project.root().join("gate.toml"), policy).expect("writes");
    ends(probe(&project, &archive, &["--insecure-no-isolation"]), 1).says("the policy is for `beer`");
    assert!(!project.root().join("serving/canary").exists());
}

/// The whole policy applies: probes that it rejects are not asked, and findings that it waives are waived.
#[test]
#[ignore = "needs bubblewrap"]
fn probe_applies_every_rule_and_waiver_of_the_policy() {
    let (project, archive) = deployment(&format!("{HEALTHY}{LOOP}"));
    let policy = |head: &str, tail: &str| {
        fs::write(project.root().join("gate.toml"), format!("{head}{POLICY}{tail}")).expect("writes");
    };
    policy("origin = \"clean\"\n", "");
    let refused = ends(probe(&project, &archive, &[]), 1);
    refused.says("lineage.origin").claims_no_success();
    assert!(!refused.all().contains("running probe"), "{}", refused.all());
    policy("", "max_rtol = 1e-6\n");
    ends(probe(&project, &archive, &[]), 1)
        .says("answers were compared with a tolerance of 1e-5, but the policy says `max_rtol");
    policy("", "fallback = [{ class = \"no\", score = 0 }]\n");
    ends(probe(&project, &archive, &[]), 1).says("1 of 12 inputs get the fallback: 8.3 % (limit 2.0 %)");
    let waiver =
        "[[waiver]]\ncheck = \"probe.golden.fallback\"\nreason = \"OPS-1\"\nuntil = 2999-01-01T00:00:00Z\n";
    policy("", &format!("fallback = [{{ class = \"no\", score = 0 }}]\n{waiver}"));
    ends(probe(&project, &archive, &[]), 0).says("waived until 2999");
    policy("previous = \"required\"\n", "");
    ends(probe(&project, &archive, &[]), 3).says("12 questions, same answers as sealed");
    ends(probe(&project, &archive, &["--previous", &archive]), 0).says("probe.golden.answers");
}

/// The archive and the previous release also contain the sealed answers.
#[test]
#[ignore = "needs bubblewrap"]
fn probe_hides_the_archive_from_the_service_and_names_a_missing_command() {
    let (project, archive) = deployment(&format!("{HEALTHY}{LOOP}"));
    let unpacked = project.unpack(Path::new(&archive));
    let looks = format!(
        "try: sys.exit(open({archive:?}, 'rb').read() and 'I see it')\nexcept OSError: pass\nassert not os.path.exists({:?})\n",
        unpacked.to_string_lossy()
    );
    fs::write(project.root().join("serving/serve.py"), format!("{HEALTHY}{looks}{LOOP}")).expect("writes");
    ends(probe(&project, &archive, &["--previous", &unpacked.to_string_lossy()]), 0);
    let policy = POLICY.replace("\"python3\"", "\"no-such-program\"");
    fs::write(project.root().join("gate.toml"), policy).expect("writes");
    ends(probe(&project, &archive, &[]), 3).says("cannot start the command `no-such-program serve.py`");
}
