//! Asks whether this holds: `LD_LIBRARY_PATH` brings no foreign CUDA libraries.

use super::{Check, Context, Finding, Group, Needs, remedy};

pub(super) struct LibraryPathClean;

impl Check for LibraryPathClean {
    fn id(&self) -> &'static str {
        "library-path-clean"
    }
    fn title(&self) -> &'static str {
        "LD_LIBRARY_PATH brings no foreign CUDA libraries"
    }
    fn explanation(&self) -> &'static str {
        "Folders in `LD_LIBRARY_PATH` come before the system's own. The toolkit's `stubs` and `compat`, a conda \
         environment, or another program's folder (Ollama, LM Studio) can put a library of the wrong version in \
         front: errors about symbols, GLIBCXX versions, or a CUDA that finds no card."
    }
    fn group(&self) -> Group {
        Group::Environment
    }
    fn needs(&self) -> Needs {
        Needs::Driver
    }
    fn run(&self, context: &Context<'_>) -> Vec<Finding> {
        let Some(value) = context.variable("LD_LIBRARY_PATH").filter(|value| !value.is_empty()) else {
            return vec![self.pass("LD_LIBRARY_PATH is not set")];
        };
        let signs = [
            ("/stubs", "the toolkit's stand-ins"),
            ("/compat", "compatibility libraries"),
            ("conda", "a conda environment"),
            ("/ollama", "Ollama's libraries"),
            ("lmstudio", "LM Studio's libraries"),
        ];
        let found = value
            .split([':', ';'])
            .find_map(|folder| signs.iter().find(|(sign, _)| folder.contains(sign)).map(|(_, what)| (folder, *what)));
        let Some((folder, what)) = found else { return vec![self.pass("no foreign folder in LD_LIBRARY_PATH")] };
        vec![
            self.warn(format!("LD_LIBRARY_PATH puts {what} before the system's libraries"))
                .seen(folder, "LD_LIBRARY_PATH")
                .remedy(remedy::drop_from_library_path(&format!("'{folder}'"))),
        ]
    }
}
