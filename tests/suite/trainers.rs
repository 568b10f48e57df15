//! Real trainers, each with a fault that changes its models: the tool finds, attributes and explains it.

use crate::support::peers::trainers;
use crate::support::project::Project;

/// A project that this Python script trains.
fn project(script: &str) -> Project {
    let project = Project::empty();
    project.write(
        "modelseal.toml",
        "[model]\nname = \"m\"\nversion = \"1\"\n[artifact]\npath = \"model\"\n[params]\nfiles = [\"params.toml\"]\n[run]\ncommand = [\"python3\", \"train.py\"]\n",
    );
    project.write("params.toml", "seed = 1\n");
    project.write("train.py", format!("import os\nos.makedirs('model')\n{script}"));
    project.commit();
    project
}

/// Builds, then rebuilds with one variation. Returns the result.
fn rebuild(script: &str, vary: &str) -> serde_json::Value {
    let project = project(script);
    let environment = trainers();
    let path = std::env::var("PATH").expect("a PATH");
    let path = format!("{}:{path}", environment.join("bin").display());
    let run =
        |arguments: &[&str]| project.modelseal(arguments).env("PATH", &path).env("VIRTUAL_ENV", &environment);
    let (private, public) = (project.key(), project.public_key());
    run(&["build", "--key", &private, "-q"]).expect(0);
    let arguments = ["reproduce", "dist/m-1.tar", "--key", &public, "-q", "--format", "json", "--vary", vary];
    let outcome = run(&arguments).run();
    assert!(matches!(outcome.code, Some(0 | 1)), "{}", outcome.all());
    outcome.json()
}

/// The status, the difference and the cure in one row.
fn row(result: &serde_json::Value, varied: &str) -> (String, String, String) {
    let rows = result["varied"].as_array().expect("a list");
    let row = rows.iter().find(|row| row["varied"] == varied).expect("is there");
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_string();
    (text("status"), text("difference"), text("cure"))
}

#[track_caller]
fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

const IRIS: &str = "from sklearn.datasets import load_iris\nX, y = load_iris(return_X_y=True)\n";

#[test]
#[ignore = "needs scikit-learn, LightGBM and XGBoost"]
fn reproduce_finds_a_memory_address_in_a_pickle() {
    let result = rebuild(
        "import pickle\nfrom sklearn.feature_extraction.text import TfidfVectorizer\nv = TfidfVectorizer(stop_words=['the']).fit(['the red wine', 'white wine here'])\npickle.dump(v, open('model/tfidf.pkl', 'wb'))\n",
        "nothing",
    );
    assert_eq!(result["verdict"], "fail");
    let (status, difference, cure) = row(&result, "nothing");
    assert_eq!(status, "differs");
    holds(&difference, &["at `TfidfVectorizer._stop_words_id`: `"]);
    holds(&cure, &["it looks like a memory address"]);
}

#[test]
#[ignore = "needs scikit-learn, LightGBM and XGBoost"]
fn reproduce_finds_set_order_that_depends_on_the_hash_seed() {
    let result = rebuild(
        "import pickle\npickle.dump({'classes': {'alpha', 'beta', 'gamma', 'delta'}}, open('model/classes.pkl', 'wb'))\n",
        "hashseed",
    );
    assert_eq!(result["verdict"], "pass");
    let (status, difference, cure) = row(&result, "hashseed");
    assert_eq!(status, "differs");
    holds(&difference, &["at `classes.a set`: `"]);
    holds(&cure, &["`PYTHONHASHSEED` changes the result: sort sets before writing"]);
}

#[test]
#[ignore = "needs scikit-learn, LightGBM and XGBoost"]
fn reproduce_reaches_r1_if_safetensors_metadata_changes_order() {
    let script = "import numpy as np\nfrom safetensors.numpy import save_file\nmetadata = {str(i): str(i) for i in range(12)}\nsave_file({'w': np.arange(6, dtype=np.float32)}, 'model/w.safetensors', metadata=metadata)\n";
    let result = rebuild(script, "nothing");
    assert_eq!((&result["verdict"], &result["reached"]), (&"fail".into(), &"R1".into()));
    let (status, difference, cure) = row(&result, "nothing");
    assert_eq!(status, "differs");
    holds(&difference, &["tensors and metadata are the same"]);
    holds(&cure, &["another order"]);
}

#[test]
#[ignore = "needs scikit-learn, LightGBM and XGBoost"]
fn reproduce_finds_a_time_stamp_in_json() {
    let result = rebuild(
        "import json, time\njson.dump({'created': time.time(), 'w': [1, 2]}, open('model/card.json', 'w'))\n",
        "nothing",
    );
    let (status, difference, cure) = row(&result, "nothing");
    assert_eq!(status, "differs");
    holds(&difference, &["at `created`: "]);
    holds(&cure, &["it looks like a time: take it from SOURCE_DATE_EPOCH"]);
}

#[test]
#[ignore = "needs scikit-learn, LightGBM and XGBoost"]
fn reproduce_finds_an_absolute_path_in_json() {
    let result = rebuild(
        "import json\njson.dump({'data': os.path.abspath('data')}, open('model/card.json', 'w'))\n",
        "path",
    );
    assert_eq!(row(&result, "nothing").0, "same");
    let (status, difference, cure) = row(&result, "path");
    assert_eq!(status, "differs");
    holds(&difference, &["at `data`: `\"/"]);
    holds(&cure, &["write relative paths"]);
    assert!(
        result["files"][0]["cause"].as_str().is_some_and(|cause| cause.contains("the file contains a path"))
    );
}

#[test]
#[ignore = "needs scikit-learn, LightGBM and XGBoost"]
fn reproduce_finds_the_number_of_threads_in_a_lightgbm_model() {
    let script = format!(
        "{IRIS}import lightgbm as lgb\nparams = {{'objective': 'multiclass', 'num_class': 3, 'num_threads': int(os.environ.get('OMP_NUM_THREADS', 2)), 'deterministic': True, 'verbose': -1}}\nlgb.train(params, lgb.Dataset(X, y), 3).save_model('model/m.txt')\n"
    );
    let result = rebuild(&script, "threads");
    assert_eq!((&result["verdict"], row(&result, "nothing").0.as_str()), (&"pass".into(), "same"));
    let (status, difference, cure) = row(&result, "threads");
    assert_eq!(status, "differs");
    holds(&difference, &["`[num_threads: 2]` / `[num_threads: 1]`"]);
    holds(&cure, &["the file contains the number of threads"]);
}

#[test]
#[ignore = "needs scikit-learn, LightGBM and XGBoost"]
fn reproduce_reaches_r2_if_numbers_differ_within_the_tolerance() {
    let script = format!(
        "{IRIS}import joblib, time\nfrom sklearn.linear_model import LogisticRegression\nm = LogisticRegression(max_iter=200).fit(X, y)\nm.coef_ = m.coef_ * (1 + 1e-12 * (1 + time.time() % 7))\njoblib.dump({{'model': m}}, 'model/m.joblib')\njoblib.dump({{'model': m}}, 'model/m.joblib.gz', compress=('gzip', 3))\n"
    );
    let result = rebuild(&script, "nothing");
    assert_eq!((&result["verdict"], &result["reached"]), (&"fail".into(), &"R2".into()));
    for file in result["files"].as_array().expect("a list") {
        holds(
            file["difference"].as_str().expect("a text"),
            &["array at `model.LogisticRegression.coef_`: 12 of 12 numbers differ", "ULP"],
        );
    }
}

#[test]
#[ignore = "needs scikit-learn, LightGBM and XGBoost"]
fn reproduce_explains_differences_inside_npz_and_skops_archives() {
    let script = format!(
        "{IRIS}import numpy as np, time, skops.io\nfrom sklearn.linear_model import LogisticRegression\nnp.savez('model/a.npz', w=np.arange(10.0) + time.time() % 1, b=np.ones(3))\nskops.io.dump(LogisticRegression(max_iter=200).fit(X, y), 'model/m.skops')\n"
    );
    let result = rebuild(&script, "nothing");
    let files = result["files"].as_array().expect("a list");
    holds(
        files[0]["difference"].as_str().expect("a text"),
        &["member `w.npy`: array: 10 of 10 numbers differ"],
    );
    holds(files[1]["difference"].as_str().expect("a text"), &["member `", ".npy` is missing"]);
    holds(files[1]["cause"].as_str().expect("a text"), &["it looks like a memory address"]);
}

/// Trainers that the field considers reproducible are reproducible.
#[test]
#[ignore = "needs scikit-learn, LightGBM and XGBoost"]
fn reproduce_reaches_r0_with_seeded_trainers() {
    let script = format!(
        "{IRIS}import joblib, pickle, numpy as np, xgboost as xgb\nfrom sklearn.linear_model import LogisticRegression\nfrom sklearn.neural_network import MLPClassifier\nm = LogisticRegression(max_iter=200).fit(X, y)\njoblib.dump(m, 'model/m.joblib.gz', compress=('gzip', 3))\nnp.savez('model/m.npz', w=m.coef_)\nn = MLPClassifier(random_state=1, max_iter=20).fit(X, y)\npickle.dump(n, open('model/n.pkl', 'wb'))\nb = xgb.train({{'objective': 'multi:softprob', 'num_class': 3, 'seed': 1, 'nthread': 2}}, xgb.DMatrix(X, y), 3)\nb.save_model('model/b.json')\nb.save_model('model/b.ubj')\n"
    );
    let result = rebuild(&script, "nothing,hashseed");
    assert_eq!((&result["verdict"], &result["reached"]), (&"pass".into(), &"R0".into()), "{result:#}");
    assert_eq!(row(&result, "hashseed").0, "same");
}

#[test]
#[ignore = "needs scikit-learn, LightGBM and XGBoost"]
fn reproduce_names_the_random_state_of_an_unseeded_forest() {
    let script = format!(
        "{IRIS}import pickle\nfrom sklearn.ensemble import RandomForestClassifier\npickle.dump(RandomForestClassifier(n_estimators=3).fit(X, y), open('model/m.pkl', 'wb'))\n"
    );
    let result = rebuild(&script, "nothing");
    let (status, difference, cure) = row(&result, "nothing");
    assert_eq!(status, "differs");
    holds(
        &difference,
        &["at `RandomForestClassifier.estimators_.[2].DecisionTreeClassifier.random_state`: `"],
    );
    holds(&cure, &["randomness or the clock: set seeds"]);
}
