//! What `--save` and `--report` write can be published: no name, home, host or token of a nasty kind stands in them, and
//! the machine still replays to the same findings.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// A user and a machine, as odd as they come: names that are words of the report, parts of words, short, spaced, dotted.
struct Person {
    user: &'static str,
    host: &'static str,
    /// Below the temporary folder.
    home: &'static str,
}

const PEOPLE: &[Person] = &[
    Person { user: "annaliese", host: "annas-tower", home: "home/annaliese" },
    Person { user: "lib", host: "cuda", home: "home/lib" },
    Person { user: "linux", host: "driver", home: "home/linux" },
    Person { user: "value", host: "default", home: "home/value" },
    Person { user: "jo", host: "pc", home: "Users/jo" },
    Person { user: "mark", host: "host.corp.example.org", home: "export/home/mark" },
    Person { user: "Zoë van Dam", host: "zoës-pc", home: "Users/Zoë van Dam" },
    Person { user: "o.neill-2", host: "gpu7.lab.example.org", home: "home/o.neill-2" },
    Person { user: "a+b(c)", host: "x[1]", home: "home/a+b(c)" },
];

const SECRETS: &[&str] = &[
    "sk-0123456789abcdef0123456789",
    "hf_abcdefghijklmnopqrst",
    "ghp_0123456789abcdefABCDEF0123456789abcd",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefghijk",
    "hunter2-of-the-proxy",
    "fileserver9",
    "colleague7",
    "intranet.example.org",
    "192.168.77.9",
];

fn doctor(person: &Person, folder: &Path, arguments: &[&str]) -> Output {
    let home = folder.join(person.home);
    fs_err::create_dir_all(&home).unwrap();
    let [key, token, pat, jwt, password, filer, colleague, intranet, address] = SECRETS else { unreachable!() };
    Command::new(env!("CARGO_BIN_EXE_llama-doctor"))
        .args(arguments)
        .env("HOME", &home)
        .env("USERPROFILE", &home)
        .env("USER", person.user)
        .env("USERNAME", person.user)
        .env("HOSTNAME", person.host)
        .env("COMPUTERNAME", person.host)
        .env("LLAMA_ARG_API_KEY", key)
        .env("LLAMA_ARG_HF_REPO", format!("x?token={token}"))
        .env("GGML_BACKEND_PATH", format!("/srv/{}/{colleague}@{}/{pat}/libggml.so", person.user, person.host))
        .env("LLAMA_ARG_MODEL_URL", format!("https://{colleague}:{password}@{intranet}/{jwt}"))
        .env("LLAMA_ARG_MODEL", format!(r"\\{filer}\models\Users\{colleague}\m.gguf"))
        .env("LLAMA_ARG_HOST", address)
        .env("LD_LIBRARY_PATH", format!("/home/{colleague}/lib:/mnt/c/Users/{colleague}/lib"))
        .output()
        .unwrap()
}

fn statuses(output: &Output) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(&output.stdout);
    let answer: Value =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    let findings = answer["findings"].as_array().unwrap();
    findings.iter().map(|finding| (finding["id"].to_string(), finding["status"].to_string())).collect()
}

#[test]
fn records_and_reports_name_nobody_and_replay() {
    for person in PEOPLE {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let (record, markdown, html) = (path("machine.json"), path("report.md"), path("report.html"));
        let live = doctor(person, folder.path(), &["check", "--json", "--save", &record, "--report", &markdown]);
        doctor(person, folder.path(), &["check", "--json", "--report", &html]);
        let replayed = doctor(person, folder.path(), &["check", "--json", "--facts", &record]);
        assert_eq!(statuses(&live), statuses(&replayed), "{}", person.user);
        let home = folder.path().join(person.home).to_string_lossy().into_owned();
        for name in [&record, &markdown, &html] {
            let text = fs_err::read_to_string(name).unwrap();
            for secret in SECRETS {
                assert!(!text.contains(secret), "{}: {secret} is in {name}", person.user);
            }
            let home_in_json = home.replace('\\', r"\\");
            assert!(!text.contains(&home) && !text.contains(&home_in_json), "{}: {home} is in {name}", person.user);
            // A path holds the name only where a system's own folder is called so.
            if !["lib", "linux"].contains(&person.user) {
                assert!(!text.contains(&format!("/{}/", person.user)), "{} is a folder in {name}", person.user);
            }
            for label in [person.host, person.host.split('.').next().unwrap()] {
                let harmless = ["cuda", "driver", "default", "host", "pc"].contains(&label);
                assert!(harmless || !text.contains(label), "{label} is in {name}");
            }
            assert!(text.contains("GGML_BACKEND_PATH"), "what matters stays");
        }
    }
}
