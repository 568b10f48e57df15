# Everything that must hold before a change lands
check:
    bash .ci/run

# Tests of the library only: seconds
quick:
    cargo test --workspace --lib

# Tests whose names hold a word
test word:
    cargo test --test suite {{word}} -- --include-ignored

# Write the real output of every session into the documentation
docs:
    UPDATE_DOCS=1 cargo test --test suite documentation -- --ignored

# Side by side with other tools; takes half an hour
bench:
    python3 benches/compare.py

# The parts that the time of a command is made of
parts word="":
    cargo bench --bench engine -- {{word}}

# Licences and advisories of the dependencies
deny:
    cargo deny check

# A minute of each fuzz target
fuzz:
    for target in archive seal recipe model_signature lanes; do mkdir -p "fuzz/corpus/$target"; cargo +nightly fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- -max_total_time=60; done
