# just --list

# What the CI runs, or some stages of it: just ci fmt clippy
ci *stages:
    .ci/run {{stages}}

# The tests of one feature: just test fit
test name:
    cargo test {{name}}

# Accept changed snapshots after reading them
snapshots:
    cargo insta review

# Build for Windows and run the suite under wine (Debian, root)
windows:
    .ci/windows-setup.sh
    .ci/windows-test.sh

# Licences, advisories, sources
deny:
    cargo deny --config .cargo/deny.toml check
